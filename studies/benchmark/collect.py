"""What of a complete run may be kept in the repository: its record without bulk, and the scores without texts.

A record is two small files: `NAME.json`, a result as retain writes it, and `NAME.items.json`, the columns of scores
that intervals are made from, with cost and commit. `parts.json` of a task says to which part and group each item
belongs, which is the same in all its runs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from retain.records.files import write_text
from retain.records.items import Item, read_items
from retain.records.metrics_table import UNREAD
from retain.records.result import Result, read_result, write_result

DIGITS = 4
WEIGHTS = ("tokens",)
"""Values of an item's base that are no score and say how much it counts."""


def collect(run: Path, records: Path, facts: dict[str, Any]) -> None:
    """Copy what is kept of a complete run.

    Args:
        run: its folder.
        records: the task's folder of records.
        facts: of the run: its cell, commit and cost.
    """
    result = read_result(run / "result.json")
    items = list(read_items(run / "items.jsonl"))
    columns, parts = columns_of(items, metrics_of(result))
    keep_parts(records / "parts.json", parts)
    write_text(records / f"{run.name}.items.json", dumped({**facts, "columns": columns}))
    write_result(slim(result), records / f"{run.name}.json")


def slim(result: Result) -> Result:
    """A record without what is long: layers one by one, the curve but its ends, bins, what the columns tell anyway.

    Of the command the run's name stays, without the folders of the machine that it ran on.
    """
    command = " ".join(Path(word).name for word in result.provenance.command.partition(" --")[0].split())
    bare = {"layers": (), "hidden": (), "feature_scales": ()}
    return result.model_copy(
        update={
            "provenance": result.provenance.model_copy(update={"command": command}),
            "drift": result.drift.model_copy(update=bare),
            "curve": (*result.curve[:1], *result.curve[-1:]),
            "calibration": tuple(each.model_copy(update={"bins": ()}) for each in result.calibration),
            "breakdowns": (),
        }
    )


def metrics_of(result: Result) -> set[str]:
    """The names of all metrics of a record."""
    return {score.metric.name for score in result.task} | {score.metric.name for score in result.keep}


def columns_of(items: Iterable[Item], metrics: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Each suite's scores by metric, base and tuned, in the items' order; and the parts and groups of its items.

    An item without a score (of a metric of written answers, where none was written) holds null.
    """
    suites: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        suites[f"{item.part}:{item.suite}"].append(item)
    columns: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for suite, own in suites.items():
        names = {name for item in own for name in item.tuned.scores}
        wanted = sorted(name for name in names if name in metrics or own[0].part == "held-out")
        columns[suite] = {
            name: {side: column([getattr(item, side).scores.get(name) for item in own]) for side in ("base", "tuned")}
            for name in wanted
            if name not in {*WEIGHTS, UNREAD}
        }
        weights = [item.base.scores.get("tokens") for item in own]
        parts[suite] = {
            "conditions": coded([item.condition for item in own]),
            "groups": coded([item.group for item in own]),
            "tokens": weights if any(weight is not None for weight in weights) else None,
        }
    return columns, parts


def column(values: Sequence[float | None]) -> str | list[float | None]:
    """Right-or-wrong scores as a text of 0, 1 and - (none); others as numbers of four digits."""
    if all(value in (None, 0.0, 1.0) for value in values):
        return "".join("-" if value is None else str(int(value)) for value in values)
    return [None if value is None else float(f"{value:.{DIGITS}g}") for value in values]


def values(written: str | Sequence[float | None]) -> list[float | None]:
    """A column as numbers again."""
    if isinstance(written, str):
        return [None if mark == "-" else float(mark) for mark in written]
    return list(written)


def coded(names: Sequence[str | None]) -> dict[str, Any] | None:
    """Names by their number in a list of different ones; None where no item has any."""
    different = list(dict.fromkeys(names))
    return None if different == [None] else {"names": different, "of": [different.index(name) for name in names]}


def keep_parts(path: Path, parts: dict[str, Any]) -> None:
    """Write the parts of a task's items, or check that those of this run are the same.

    Raises:
        ValueError: they differ, so the runs did not measure the same.
    """
    text = dumped(parts)
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != json.loads(text):
        raise ValueError(f"{path}: this run measured other items than the task's earlier runs.")
    write_text(path, text)


def dumped(content: Any) -> str:
    """Compact JSON."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n"
