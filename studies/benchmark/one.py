"""One run of the benchmark: python one.py TASK METHOD RATE SEED, in a process of its own, which gives its memory back.

It is an ordinary run of retain; the base's predictions, its head and second moments lie in the task's folder, where all
runs of the task find them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from filelock import FileLock
from plan import Cell, overrides, read_plan

from retain.errors import RetainError
from retain.events import SILENT
from retain.hf.models.describe import model_hash
from retain.jobs.base_predictions import base_predictions
from retain.jobs.inputs.prepare import prepare
from retain.jobs.run import Run
from retain.jobs.tune import complete
from retain.recipe import Recipe, load_recipe

ROOT = Path(__file__).parents[2]


def run(cell: Cell, runs: Path) -> None:
    """Do one run, or what is left of it."""
    plan = read_plan()
    path = str(ROOT / plan.tasks[cell.task]["recipe"])
    place = {"output": str(runs / cell.task / cell.name)}
    steps = load_recipe(Recipe, path, place).max_steps
    recipe = load_recipe(Recipe, path, {**overrides(plan, cell, steps), **place}).single()
    asked = Run.of(recipe, prepare(recipe), SILENT, shared=runs / cell.task)
    with FileLock(runs / cell.task / "base.lock"):  # one worker asks the base, the others wait and read its answers
        base = asked.base()
        base_predictions(asked, base, model_hash(base))
        del base
    complete(asked)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("method")
    parser.add_argument("rate", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/benchmark")
    asked = parser.parse_args()
    try:
        run(Cell(asked.task, asked.method, asked.rate, asked.seed), asked.runs)
    except RetainError as error:
        sys.exit(str(error))
