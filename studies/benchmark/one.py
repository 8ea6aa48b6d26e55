"""One run of the benchmark: python one.py TASK METHOD RATE SEED, in a process of its own, which gives its memory back.

It is an ordinary run of retain; the base's predictions, its head and second moments lie in the task's folder, where all
runs of the task find them. A method that changes what LoRA's run left is measured as that run was.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import after
from choose import best_rate
from filelock import FileLock
from plan import LORA, Cell, Plan, overrides, read_plan

from retain.errors import RetainError
from retain.evaluate.pair import Pair
from retain.evaluate.runner import measure_pair
from retain.events import SILENT
from retain.hf.models.describe import model_hash
from retain.jobs.base_predictions import base_predictions
from retain.jobs.inputs.prepare import prepare
from retain.jobs.record import write_record
from retain.jobs.run import Run
from retain.jobs.stopwatch import Stopwatch
from retain.jobs.tune import complete
from retain.recipe import Recipe, load_recipe
from retain.records.result import Cost, MethodRecord, read_result

ROOT = Path(__file__).parents[2]


def run(plan: Plan, cell: Cell, runs: Path, records: Path) -> None:
    """Do one run, or what is left of it."""
    if not plan.is_after(cell.method):
        asked = run_of(plan, cell, runs)
        predictions_of(asked)
        complete(asked)
        return
    changed = plan.needs(cell, best_rate(plan, records, cell.task, LORA))
    if changed is None:
        raise RetainError(f"{cell.name}: LoRA's rate is not chosen yet")
    measure_changed(plan, cell, run_of(plan, changed, runs), runs / cell.task / cell.name)


def run_of(plan: Plan, cell: Cell, runs: Path) -> Run:
    """The run of a cell, ready to be done."""
    path = str(ROOT / plan.tasks[cell.task]["recipe"])
    place = {"output": str(runs / cell.task / cell.name)}
    steps = load_recipe(Recipe, path, place).max_steps
    recipe = load_recipe(Recipe, path, {**overrides(plan, cell, steps), **place}).single()
    return Run.of(recipe, prepare(recipe), SILENT, shared=runs / cell.task)


def predictions_of(asked: Run) -> Any:
    """The base's predictions: one worker asks the base, the others wait and read its answers."""
    with FileLock(asked.shared / "base.lock"):
        base = asked.base()
        return base_predictions(asked, base, model_hash(base))


def measure_changed(plan: Plan, cell: Cell, lora: Run, output: Path) -> None:
    """Change what LoRA's run left, measure it, and write the record beside LoRA's own."""
    predictions = predictions_of(lora)
    with Stopwatch() as changing:
        model = lora.trained(lora.base(), lora.folder.weights(LORA))
        model = getattr(after, plan.methods[cell.method]["after"])(model, cell.rate)
    with Stopwatch() as measuring:
        pair = Pair.around(model, lora.base)
        measured = measure_pair(pair, lora.preprocessor, lora.data.suites, lora.settings, SILENT, predictions)
    trained = read_result(lora.folder.path / "result.json")
    cost = Cost(scaling_seconds=changing.seconds, measure_seconds=measuring.seconds)
    method = MethodRecord(name=cell.method, config={**trained.method.config, "strength": cell.rate})
    given = {"method": method, "cost": cost, "curve": (), "budget": (), "scaling": None, **measured.fields()}
    write_record(output, trained.model_copy(update=given), measured.items)


def child(cell: Cell, runs: Path, records: Path, log: Path, spent: Connection) -> None:
    """Do one run in this process, with what it says in a file, and send the processor seconds that it took.

    Raises:
        SystemExit: it failed; the file says why.
    """
    with log.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        run(read_plan(), cell, runs, records)
    except RetainError as error:
        sys.exit(str(error))
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    spent.send(own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("method")
    parser.add_argument("rate", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/benchmark")
    parser.add_argument("--records", type=Path, default=Path(__file__).parent / "records")
    asked = parser.parse_args()
    try:
        run(read_plan(), Cell(asked.task, asked.method, asked.rate, asked.seed), asked.runs, asked.records)
    except RetainError as error:
        sys.exit(str(error))
