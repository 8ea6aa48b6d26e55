"""Gather a study's complete runs: its plot, its summary and each run's record, without the texts of the items.

Run: python studies/collect.py runs/first-look studies/first-look
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from retain.records.result import read_result, write_result
from retain.report.write import write_comparison


def collect(runs: Path, study: Path) -> None:
    """Write the comparison of all complete runs under `runs`, and copy what may be published to `study`."""
    results = {path.parent: read_result(path) for path in sorted(runs.glob("runs/*/result.json"))}
    write_comparison(runs, results)
    for name in ("pareto.png", "summary.csv"):
        shutil.copyfile(runs / name, study / name)
    for folder, result in results.items():
        write_result(result, study / "results" / f"{folder.name}.json")


if __name__ == "__main__":
    collect(Path(sys.argv[1]), Path(sys.argv[2]))
