"""Many runs on one base and one data set: every method at each learning rate with each seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from retain.errors import InputError
from retain.events import SILENT
from retain.jobs.continue_run import ensure_merged
from retain.jobs.identity import run_name
from retain.jobs.inputs.prepare import prepare
from retain.jobs.progress import duration, showing_progress
from retain.jobs.run import Run
from retain.jobs.tune import complete
from retain.recipe import Recipe
from retain.records.lock import output_folder
from retain.records.result import Result
from retain.report.write import COMPARISON_FILES, holding_problem, write_comparison


def compare(recipe: Recipe, console: Console) -> tuple[list[Result], list[Path]]:
    """Do every run of a comparison that is not complete yet, then write one table, one plot and one page.

    Each run lies in `runs/NAME` under the output and is an ordinary run; the base's predictions are collected once.

    Args:
        recipe: a recipe with `methods`, `seeds` and `learning_rates`.
        console: shows the progress.

    Returns:
        The results, and the paths of report, page, plot and summary.

    Raises:
        InputError: with all problems of all runs, before any training.
        TrainingError: a run failed; those before it are complete and are not done again.
    """
    with showing_progress(console) as events:
        ensure_merged(recipe, events)
    runs = _runs(recipe)
    conflicts = [
        *holding_problem(recipe.output, ["run.json", "result.json"]),
        *(run.folder.conflict(run.identity) for run in runs),
    ]
    if any(conflicts):
        raise InputError([problem for problem in conflicts if problem])
    with output_folder(Path(recipe.output), COMPARISON_FILES):
        results = _complete_all(runs, console)
        return list(results.values()), write_comparison(Path(recipe.output), results)


def _complete_all(runs: list[Run], console: Console) -> dict[Path, Result]:
    """The record of each run by its folder."""
    results: dict[Path, Result] = {}
    console.print(_plan(runs), markup=False, soft_wrap=True)
    clock = _Clock()
    for number, run in enumerate(runs, start=1):
        known = run.folder.is_complete(run.identity)
        began = time.monotonic()
        with showing_progress(console) as events:
            result = complete(replace(run, events=events))
        results[run.folder.path] = result
        clock.add(0.0 if known else time.monotonic() - began)
        seconds = f"trained in {result.cost.train_seconds:.0f} s"
        left = clock.left(len(runs) - number)
        told = f"{run.folder.path.name}: {'was complete already' if known else seconds}{left}"
        console.print(f"{number}/{len(runs)}  {told}", markup=False, soft_wrap=True)
    return results


def _plan(runs: Sequence[Run]) -> str:
    """What will be done, and how long it may take, as far as complete runs tell."""
    done = [run for run in runs if run.folder.is_complete(run.identity)]
    results = [result for run in done if (result := run.folder.finished()) is not None]
    costs = [result.cost.train_seconds + result.cost.measure_seconds for result in results]
    methods = len({run.method for run in runs})
    text = f"{len(runs)} runs with {methods} method{'' if methods == 1 else 's'}"
    missing = len(runs) - len(done)
    if done and missing:
        return f"{text}: {len(done)} complete, about {duration(sum(costs) / len(costs) * missing)} for the others."
    return f"{text}: all complete." if not missing else f"{text}; how long they take is told after the first."


class _Clock:
    """The time that runs took, for an estimate of the others'."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def add(self, seconds: float) -> None:
        """Note the time of a run; 0 for one that was complete."""
        if seconds:
            self._seconds.append(seconds)

    def left(self, runs: int) -> str:
        """The time that so many runs still take, in words; empty where nothing tells it, or none is left."""
        if not runs or not self._seconds:
            return ""
        return f"; about {duration(sum(self._seconds) / len(self._seconds) * runs)} left"


def _runs(recipe: Recipe) -> list[Run]:
    """The runs of a comparison, on the same data and with the same preprocessor."""
    prepared, recipes, output = prepare(recipe), recipe.runs(), Path(recipe.output)
    places = [str(output / "runs" / run_name(one, recipes)) for one in recipes]
    single = [one.model_copy(update={"output": place}) for one, place in zip(recipes, places, strict=True)]
    return [Run.of(one, prepared, SILENT, shared=output) for one in single]
