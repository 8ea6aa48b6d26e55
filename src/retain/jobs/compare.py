"""Many runs on one base and one data set: every method at each learning rate with each seed, here or by workers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from retain.errors import InputError, TrainingError
from retain.events import Events
from retain.jobs.comparison_runs import conflicts_of, runs_of
from retain.jobs.continue_run import ensure_merged
from retain.jobs.failure import sentence_on
from retain.jobs.progress import RunsProgress, duration, showing_progress, showing_runs
from retain.jobs.run import Run
from retain.jobs.tune import complete
from retain.jobs.workers.choose import executor_for, setup_of
from retain.jobs.workers.executor import Executor, spread
from retain.jobs.workers.prepared import unit_of
from retain.jobs.workers.run_files import unpack
from retain.jobs.workers.share import share_of
from retain.jobs.workers.unit import Unit
from retain.recipe import Recipe
from retain.recipe.from_run import note_start
from retain.records.lock import output_folder
from retain.records.result import Result
from retain.report.write import COMPARISON_FILES, write_comparison


@dataclass(frozen=True)
class Compared:
    """What became of a comparison.

    Attributes:
        results: the records of the complete runs, in the order of the recipe.
        paths: of report, page, plot and summary; none of a share.
        failed: a sentence on each run that failed, by its name.
        elsewhere: the names of runs of a share that another command was doing.
        share: what was done of all runs, in words; empty where it was all.
    """

    results: list[Result]
    paths: list[Path]
    failed: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Sequence[str] = ()
    share: str = ""


def compare(recipe: Recipe, console: Console) -> Compared:
    """Do every run of a comparison that is not complete yet, then write one table, one plot and one page.

    Each run lies in `runs/NAME` under the output and is an ordinary run; the base's predictions are collected once. A
    run that fails does not stop the others. Several commands may do the runs of one comparison at the same time, on
    any machines that share the folder.

    Args:
        recipe: a recipe with `methods`, `seeds` and `learning_rates`.
        console: shows the progress.

    Raises:
        InputError: with all problems of all runs, before any training.
        TrainingError: every run failed; with what each of them said.
    """
    chosen = share_of(recipe.run)
    with showing_progress(console) as events:
        ensure_merged(recipe, events)
    runs = runs_of(recipe)
    if conflicts := conflicts_of(recipe, runs):
        raise InputError(conflicts)
    output = Path(recipe.output)
    with output_folder(output, COMPARISON_FILES, alone=False):
        pass  # what lies there is retain's, and is noted from now on
    gathering = _Gathering(runs, chosen.of(range(len(runs))), console)
    gathering.complete_all(recipe, wait_for_others=chosen.is_all)
    found = gathering.found()
    if not found.results and found.failed:
        raise TrainingError("\n".join(f"{name} failed: {why}" for name, why in found.failed.items()))
    if not chosen.is_all:
        return replace(found, share=f"share {recipe.run} of {len(runs)} runs")
    with output_folder(output, COMPARISON_FILES, alone=False):
        written = write_comparison(output, {runs[number].folder.path: one for number, one in gathering.results.items()})
    return replace(found, paths=written)


class _Gathering:
    """The runs of a comparison, or of a share of it, and what became of them."""

    def __init__(self, runs: Sequence[Run], numbers: Sequence[int], console: Console) -> None:
        self._runs, self._numbers, self._console = runs, numbers, console
        self._results: dict[int, Result] = {}
        self._failed: dict[int, str] = {}
        self._elsewhere: list[str] = []
        self._clock, self._began = _Clock(), 0.0

    @property
    def results(self) -> dict[int, Result]:
        """The records by the number of the run, in the order of the recipe."""
        return dict(sorted(self._results.items()))

    def found(self) -> Compared:
        """What became of the runs."""
        failed = {self._runs[number].folder.path.name: why for number, why in sorted(self._failed.items())}
        return Compared(list(self.results.values()), [], failed, tuple(self._elsewhere))

    def complete_all(self, recipe: Recipe, *, wait_for_others: bool) -> None:
        """Do every run that is not complete."""
        runs = {number: self._runs[number] for number in self._numbers}
        missing = [number for number, run in runs.items() if not run.folder.is_complete(run.identity)]
        for number in sorted(runs.keys() - set(missing)):
            self._read(number, is_complete=True)
        self._console.print(self._plan(len(missing)), markup=False, soft_wrap=True)
        for number in self._results:
            self._tell(number, "was complete already")
        if not missing:
            return
        units = [unit_of(number, self._runs[number]) for number in missing]
        with self._executor(recipe, len(units)) as (executor, shown):
            self._began = time.monotonic()
            for unit, outcome in spread(units, executor, self._told, wait_for_others=wait_for_others):
                shown.over(unit.name)
                if outcome.state == "done":
                    self._receive(unit, outcome.files)
                elif outcome.state == "in use":
                    self._elsewhere.append(unit.name)
                    self._told(f"{unit.name}: {outcome.text} It is left to that.")
                else:
                    self._failed[unit.number] = outcome.text
                    self._told(f"{unit.name}: failed: {outcome.text}")

    @contextlib.contextmanager
    def _executor(self, recipe: Recipe, units: int) -> Iterator[tuple[Executor, RunsProgress]]:
        def here(unit: Unit, events: Events) -> str:
            complete(replace(self._runs[unit.number], events=events))
            return ""

        setup = setup_of("run", recipe)
        with showing_runs(self._console, units) as shown:
            listen = lambda unit, event: shown.at(unit.name, event)  # noqa: E731 -- two words for an adapter
            with executor_for(recipe, setup, units, here, listen, self._told) as executor:
                yield executor, shown

    def _receive(self, unit: Unit, files: Mapping[str, bytes]) -> None:
        """Take what a run gave: its files, where they were written elsewhere, and its record."""
        try:
            if files:
                run = self._runs[unit.number]
                unpack(run.folder.path, files)
                note_start(run.folder.path, run.recipe.output)
        except InputError as error:
            self._failed[unit.number] = sentence_on(error)
            return
        run = self._runs[unit.number]
        self._read(unit.number, is_complete=run.folder.is_complete(run.identity))
        if unit.number in self._results:
            self._clock.add(time.monotonic() - self._began)
            self._tell(unit.number, f"trained in {self._results[unit.number].cost.train_seconds:.0f} s")

    def _read(self, number: int, *, is_complete: bool) -> None:
        """Read the record of a run."""
        run = self._runs[number]
        try:
            result = run.folder.finished() if is_complete else None
        except InputError as error:
            self._failed[number] = sentence_on(error)
            return
        if result is None:
            self._failed[number] = f"{run.folder.result} is not there, though the run is done; is the folder shared?"
        else:
            self._results[number] = result

    @property
    def _over(self) -> int:
        return len(self._results) + len(self._failed)

    def _tell(self, number: int, what: str) -> None:
        left = self._clock.left(len(self._numbers) - self._over)
        self._told(f"{self._over}/{len(self._numbers)}  {self._runs[number].folder.path.name}: {what}{left}")

    def _told(self, sentence: str) -> None:
        self._console.print(sentence, markup=False, soft_wrap=True)

    def _plan(self, missing: int) -> str:
        """What will be done, and how long it may take, as far as complete runs tell."""
        costs = [result.cost.train_seconds + result.cost.measure_seconds for result in self._results.values()]
        methods, total = len({self._runs[number].method for number in self._numbers}), len(self._numbers)
        text = f"{total} runs with {methods} method{'' if methods == 1 else 's'}"
        if costs and missing:
            about = duration(sum(costs) / len(costs) * missing)
            return f"{text}: {len(costs)} complete, about {about} of work for the others."
        return f"{text}: all complete." if not missing else f"{text}; how long they take is told after the first."


class _Clock:
    """The pace at which runs end, for an estimate of when the last one does."""

    def __init__(self) -> None:
        self._pace: float | None = None
        self._done = 0

    def add(self, seconds: float) -> None:
        """Note that one more run ended, so long after the beginning."""
        self._done += 1
        self._pace = seconds / self._done

    def left(self, runs: int) -> str:
        """The time that so many runs still take, in words; empty where nothing tells it, or none is left."""
        return f"; about {duration(self._pace * runs)} left" if runs and self._pace else ""
