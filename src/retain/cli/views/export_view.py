"""The output at the end of an export."""

from __future__ import annotations

from rich.console import Console

from retain.cli.screen import show_path
from retain.compare.item_examples import clean
from retain.jobs.export.deliver import Exported, loss_lines
from retain.records.export_record import EXPORT_RECORD

WEIGHTS = ".safetensors"


def show_export(console: Console, exported: Exported) -> None:
    """Print what was made, what that lost, and the paths of the files."""
    record = exported.record
    size = "" if record.rank is None else f" of rank {record.rank}"
    console.print(f"{record.method} as {record.to}{size}, {record.dtype}", markup=False, soft_wrap=True)
    for line in (*loss_lines(record), *record.notes):
        console.print(clean(line), markup=False, soft_wrap=True)
    for name in sorted([*record.files, EXPORT_RECORD]):
        show_path(console, "weights" if name.endswith(WEIGHTS) else name.rpartition(".")[2], exported.folder / name)
