"""What speed was aimed at, and whether the figures in the JSON files reach it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cases import LORA, LORA_FAST, LORFA, VEFA
from initialisation import SC_LORA
from job import MEASURE, RETAIN
from serving import MIXED

Row = dict[str, Any]
Records = Mapping[str, Row]
COLUMNS = {"aim": "aim", "at most": "limit", "found": "found", "of the least times": "least", "": "verdict"}


class Aim(NamedTuple):
    """An upper bound on one figure, which is None where a row lacks it: a ratio to nothing, a case that failed."""

    text: str
    record: str
    where: Row
    figure: Callable[[Row, list[Row]], float | None]
    limit: float
    least: str | None = None


def _saved_to_lora(row: Row, rows: list[Row]) -> float | None:
    lora = _one(rows, {"base": row["base"], "case": LORA}) or {}
    return float(row["saved_mib"] / lora["saved_mib"]) if "saved_mib" in row and lora.get("saved_mib") else None


def _saved_beyond_frozen(row: Row, _rows: list[Row]) -> float | None:
    return float(row["saved_ratio"]) - 1 if "saved_ratio" in row else None


def _bytes_too_many(row: Row, _rows: list[Row]) -> float | None:
    return float(row["file_bytes"] - row["number_bytes"] - row["header_bytes"]) if "file_bytes" in row else None


def _figure(key: str) -> Callable[[Row, list[Row]], float | None]:
    return lambda row, _rows: float(row[key]) if key in row else None


def _layer(name: str, base: str, limit: float) -> Aim:
    where = {"base": base, "case": name}
    return Aim(f"layer, {base}: time of {name} / frozen", "layer", where, _figure("ratio"), limit, "ratio_least")


def _model(name: str, limit: float) -> Aim:
    where = {"kind": "llama", "base": "float32", "case": name}
    return Aim(
        f"small Llama, float32: step with {name} / frozen", "model", where, _figure("ratio"), limit, "ratio_least"
    )


def _saved(name: str, base: str) -> Aim:
    text = f"small Llama, {base}: saved for backward with {name}, beyond frozen"
    return Aim(text, "model", {"kind": "llama", "base": base, "case": name}, _saved_beyond_frozen, 0.02)


def _start(text: str, figure: str, limit: float) -> Aim:
    return Aim(
        f"SC-LoRA's start / CorDA's, same tokens: {text}", "initialisation", {"case": SC_LORA}, _figure(figure), limit
    )


def _mixed(name: str, base: str, limit: float) -> Aim:
    text = f"mixed batch of 64, {base}: forward with {name} / base"
    return Aim(text, "serving", {"base": base, "method": name, "case": MIXED}, _figure("ratio"), limit, "ratio_least")


AIMS = (
    _layer(VEFA, "float32", 1.00), _layer(VEFA, "bfloat16", 1.06), _layer("VeFA, to nearest", "bfloat16", 1.06),
    *(_layer(name, kind, 1.07) for name in (LORFA, LORA_FAST) for kind in ("float32", "bfloat16")),
    _model(VEFA, 1.02), _model(LORFA, 1.08),
    *(_saved(name, base) for name in (VEFA, LORFA) for base in ("float32", "bfloat16")),
    *(
        Aim(f"layer, bfloat16: saved by {name} / by {LORA}", "layer", {"base": "bfloat16", "case": name},
            _saved_to_lora, 0.5)
        for name in (LORFA, VEFA)
    ),
    *(_mixed(name, base, limit) for name, limit in ((VEFA, 1.05), (LORFA, 1.2)) for base in ("float32", "bfloat16")),
    _start("time", "ratio", 1 / 3), _start("time beyond the forward pass", "beyond_ratio", 0.1),
    _start("memory", "memory_ratio", 0.25),
    Aim("the whole job: training by retain / by TRL + PEFT", "job", {"way": RETAIN}, _figure("ratio"), 1),
    Aim("the whole job: measuring / training, 100 steps", "job", {"way": MEASURE}, _figure("to_training"), 0.2),
    Aim("the whole job: measuring / bare forward passes of both", "job", {"way": MEASURE}, _figure("to_bare"), 2),
    Aim("loading VeFA beside others (PEFT's load_adapter), ms", "files", {"method": VEFA}, _figure("load_ms"), 5),
    Aim("loading VeFA in another's place (swap_adapter), ms", "files", {"method": VEFA}, _figure("swap_ms"), 5),
    Aim("switching to a VeFA adapter, ms", "files", {"method": VEFA}, _figure("switch_ms"), 5),
    Aim("VeFA's file: bytes beyond 4 a number and the header", "files", {"method": VEFA}, _bytes_too_many, 0),
)  # fmt: skip


def judged(records: Records) -> list[Row]:
    """Each aim with what was found.

    Args:
        records: the contents of the JSON files by name; what is missing is "not measured".
    """
    found = []
    for aim in AIMS:
        rows = records.get(aim.record, {}).get("rows", [])
        row = _one(rows, aim.where)
        value = None if row is None else aim.figure(row, rows)
        verdict = "not measured" if value is None else "reached" if value <= aim.limit else "not reached"
        least = row.get(aim.least) if row and aim.least else None
        found.append({"aim": aim.text, "limit": aim.limit, "found": value, "least": least, "verdict": verdict})
    return found


def _one(rows: list[Row], where: Row) -> Row | None:
    return next((row for row in rows if all(row.get(key) == value for key, value in where.items())), None)
