"""What an adapter's life beside the model costs: save, load, switch, merge, unmerge, export, and bytes on disk.

    python benchmarks/files.py                   # 1,000 VeFA, 100 LoRFA, 100 LoRA (PEFT) on a small Llama, float32

Each adapter is saved with values of its own by `save_pretrained` and loaded by PEFT's `load_adapter` into a model that
already holds some; the oldest is then deleted, so that their number stays. Swapping is `retain.swap_adapter`, which
puts a file's values into an adapter that is there; switching is `set_adapter` among those held.
Merging and export are measured a few times. Milliseconds of CPU time of this process; what the disk takes is not in it.
Before, a loaded adapter must give what the saved one gave, unmerging must give back the base's bits, and VeFA's file
must hold 4 bytes for each number and its header, nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bases
import torch
from cases import CASES, LORA, LORFA, TOLERANCE, VEFA, difference, linear_names, passed
from common import away_from_start, finish, markdown, options, prepare, timed, trainable
from torch import Tensor

import retain
from retain import InputError, swap_adapter

COLUMNS = {
    "method": "method", "adapters": "adapters", "save, ms": "save_ms", "load, ms": "load_ms",
    "load beside one, ms": "load_beside_one_ms", "swap, ms": "swap_ms", "switch, ms": "switch_ms",
    "merge, ms": "merge_ms", "unmerge, ms": "unmerge_ms", "export as LoRA, ms": "export_ms", "numbers": "numbers",
    "file, bytes": "file_bytes",
    "4 · numbers, bytes": "number_bytes", "header, bytes": "header_bytes", "whole folder, bytes": "folder_bytes",
}  # fmt: skip
WEIGHTS = "adapter_model.safetensors"
FEW = 5


def milliseconds(job: Callable[[], Any]) -> float:
    """What a job takes."""
    return 1000 * timed(job)[0]


def median(values: list[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


@torch.no_grad()
def logits(model: Any, ids: Tensor) -> dict[str, Tensor]:
    """What the model gives."""
    return {"logits": model(input_ids=ids, use_cache=False).logits}


def header_bytes(path: Path) -> int:
    """The bytes of a safetensors file before its numbers: a length of 8 bytes, and as many as it says."""
    with path.open("rb") as file:
        return 8 + int(struct.unpack("<Q", file.read(8))[0])


def save(model: Any, count: int, folder: Path) -> list[float]:
    """Save `count` adapters of different values; the milliseconds of each."""
    found = []
    for number in range(count):
        away_from_start(model, spread=0.01, seed=number)
        found.append(milliseconds(partial(model.save_pretrained, folder / str(number))))
    return found


def load(model: Any, count: int, folder: Path, held: int) -> tuple[list[float], list[str]]:
    """Load all one after the other, `held` of them at a time; the milliseconds of each, and the names that stay."""
    found, names = [], []
    for number in range(count):
        found.append(milliseconds(partial(model.load_adapter, folder / str(number), f"n{number}")))
        names.append(f"n{number}")
        if len(names) > held:
            model.delete_adapter(names.pop(0))
    return found, names


def swap(model: Any, count: int, folder: Path, name: str) -> float | None:
    """Milliseconds to put one saved adapter's values into the place of another's; the last one's stay."""
    jobs = [partial(swap_adapter, model, folder / str(number), name) for number in range(count)]
    return median([milliseconds(job) for job in jobs])


def merging(model: Any, ids: Tensor) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Merge and unmerge a few times; milliseconds, and whether outputs stay and bits come back."""
    weights = [p.clone() for key, p in model.named_parameters() if "base_layer" in key]
    before = logits(model, ids)
    merge, unmerge, apart = [], [], 0.0
    for _ in range(FEW):
        merge.append(milliseconds(model.merge_adapter))
        apart = max(apart, difference(logits(model, ids), before))
        unmerge.append(milliseconds(model.unmerge_adapter))
    after = [p for key, p in model.named_parameters() if "base_layer" in key]
    same = all(torch.equal(one, other) for one, other in zip(weights, after, strict=True))
    checked = {"difference": apart, "bits_back": same, "close": apart <= 10 * TOLERANCE[torch.float32]}
    return {"merge_ms": median(merge), "unmerge_ms": median(unmerge)}, checked


def exporting(model: Any, folder: Path, name: str) -> float | None:
    """Milliseconds of an export as LoRA; None where the update has no low rank, as VeFA's."""
    try:
        return median(
            [milliseconds(lambda: retain.export(model, folder, adapter_name=name, to="lora")) for _ in range(FEW)]
        )
    except InputError:
        return None


def measure(asked: argparse.Namespace, method: str, count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One method's row, and its checks."""
    frozen = bases.make("llama", asked.hidden, asked.layers, torch.float32).eval()
    ids = bases.reads("llama", 2, 16)[0]["input_ids"]
    model = CASES[method](frozen, linear_names(frozen), asked.rank).eval()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        numbers, saved = trainable(model), save(model, count, folder)
        last = logits(model, ids)
        alone, _ = load(model, min(count, 10), folder, 0)
        loaded, names = load(model, count, folder, min(asked.held, count))
        model.set_adapter(names[-1])
        apart = difference(logits(model, ids), last)
        swapped = swap(model, count, folder, names[-1])
        apart = max(apart, difference(logits(model, ids), last))
        switch = [milliseconds(partial(model.set_adapter, name)) for name in (*names, *names)]
        merged, checked = merging(model, ids)
        exported = exporting(model, folder / "exported", names[-1])
        file = folder / "0" / WEIGHTS
        sizes = {
            "file_bytes": file.stat().st_size, "number_bytes": 4 * numbers, "header_bytes": header_bytes(file),
            "folder_bytes": sum(one.stat().st_size for one in file.parent.iterdir()),
        }  # fmt: skip
    row = {
        "method": method, "adapters": count, "held": min(asked.held, count), "save_ms": median(saved),
        "load_ms": median(loaded), "load_beside_one_ms": median(alone), "swap_ms": swapped,
        "switch_ms": median(switch), **merged,
        "export_ms": exported, "numbers": numbers, **sizes, "load_ms_each": loaded,
    }  # fmt: skip
    whole = sizes["file_bytes"] == sizes["number_bytes"] + sizes["header_bytes"]
    ours = method != LORA
    checks = [
        {"check": f"{method}: loaded = saved", "difference": apart, "passed": apart <= TOLERANCE[torch.float32]},
        {"check": f"{method}: merged = not merged, and the base's bits come back (asked of retain's own only)",
         **checked, "passed": checked["close"] and (checked["bits_back"] or not ours)},
        {"check": f"{method}: the file is 4 bytes a number and a header", "passed": whole},
    ]  # fmt: skip
    return row, checks


def main(arguments: list[str] | None = None) -> None:
    """Measure, check, write."""
    parser = options(str(__doc__), rounds=1)
    parser.add_argument("--adapters", type=int, default=1000, help="of VeFA; a tenth of the others (%(default)s)")
    parser.add_argument("--held", type=int, default=8, help="adapters that the model holds meanwhile (%(default)s)")
    parser.add_argument("--hidden", type=int, default=512, help="a multiple of 64 (%(default)s)")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rank", type=int, default=8)
    asked = parser.parse_args(arguments)
    prepare(asked.threads)
    rows: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    for method, share in ((VEFA, 1), (LORFA, 10), (LORA, 10)):
        row, checked = measure(asked, method, max(2, asked.adapters // share))
        rows.append(row)
        checks += checked
    print(markdown(rows, COLUMNS))
    finish("files", asked, {"gate": checks, "columns": COLUMNS, "rows": rows}, passed=passed(checks))


if __name__ == "__main__":
    main()
