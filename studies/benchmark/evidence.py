"""The records as arrays, and what is read from them: gain, retention, drift, each under resampled items. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from choose import items_of
from collect import values
from numpy.typing import NDArray
from plan import Cell, Plan

from retain.records.metrics_table import KL_DIVERGENCE
from retain.records.result import Result, read_result

Floats = NDArray[np.float64]

TEST, VALIDATION = "test", "validation"
TEXT, WINDOWS = "text", "held-out:held-out text"
"""The name of held-out text among what is kept, and that of its windows among the columns."""


MEASURED = ("test", "keep:", "held_out_text")
"""How the hashes of measured data begin in a record."""


@dataclass(frozen=True)
class Run:
    """One record: the cell, the result, the columns of scores, and what it cost."""

    cell: Cell
    result: Result
    columns: Mapping[str, Any]
    facts: Mapping[str, Any]
    read: dict[tuple[str, str], tuple[Floats, Floats]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def measured(self) -> dict[str, str]:
        """Hashes of the data that it measured, by name."""
        hashes = self.result.provenance.data_hashes
        return {name: value for name, value in hashes.items() if name.startswith(MEASURED)}

    def pair(self, suite: str, metric: str) -> tuple[Floats, Floats]:
        """Base and tuned scores of a suite's items; without a score NaN."""
        if (suite, metric) not in self.read:
            column = self.columns[suite][metric]
            self.read[suite, metric] = _array(column["base"]), _array(column["tuned"])
        return self.read[suite, metric]


@dataclass(frozen=True)
class Task:
    """All records of one task.

    Attributes:
        name: as the plan names it.
        entry: what the plan says of it.
        runs: by cell.
        parts: conditions, groups and tokens of the items of each suite.
    """

    name: str
    entry: Mapping[str, Any]
    runs: Mapping[Cell, Run]
    parts: Mapping[str, Any]
    known: dict[str, NDArray[np.intp]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def test_suite(self) -> str:
        """The task's own suite."""
        return f"task:{self.entry['choose']['suite']}"

    @property
    def metric(self) -> str:
        """The metric that gain is stated in."""
        return str(self.entry["choose"]["metric"])

    @property
    def sign(self) -> float:
        """1 where more of the metric is better, −1 where less is."""
        return -1.0 if self.entry["choose"].get("lower_is_better") else 1.0

    @property
    def shown(self) -> tuple[float, int]:
        """What a gain is multiplied by to be in the task's unit, and the digits it is shown with."""
        return (1.0, 2) if self.entry["unit"].startswith("nats") else (100.0, 1)

    def places(self, condition: str, suite: str | None = None) -> NDArray[np.intp]:
        """The places of the items of one condition in a suite, or else in the task's."""
        conditions = self.parts[suite or self.test_suite]["conditions"]
        return np.flatnonzero(np.asarray(conditions["of"]) == conditions["names"].index(condition))

    @property
    def shifts(self) -> list[str]:
        """The conditions of the task's items that are a shift."""
        return [name for name in self.parts[self.test_suite]["conditions"]["names"] if name not in (TEST, VALIDATION)]

    @property
    def spoilt(self) -> list[str]:
        """The suites that ask the task of spoilt inputs, as far as the plan names any."""
        return list(self.entry.get("spoilt", []))

    @property
    def kept(self) -> list[str]:
        """What is to be kept: the suites that the plan names, and held-out text where there is any."""
        return [*self.entry["keep"], *([TEXT] if self.domains else [])]

    @property
    def domains(self) -> list[str]:
        """The domains of held-out text."""
        return list(self.parts[WINDOWS]["conditions"]["names"]) if WINDOWS in self.parts else []

    def weights(self, suite: str) -> Floats:
        """How much each item of a suite counts: its tokens where it has any, else all alike."""
        tokens = self.parts[suite].get("tokens")
        first = next(iter(self.runs.values())).columns[suite]
        size = len(_array(next(iter(first.values()))["base"]))
        return np.ones(size) if tokens is None else np.asarray(tokens, dtype=np.float64)

    def codes(self, suite: str) -> NDArray[np.intp]:
        """The number of each item's unit."""
        if suite not in self.known:
            self.known[suite] = np.unique(self.units(suite), return_inverse=True)[1]
        return self.known[suite]

    def units(self, suite: str) -> list[str]:
        """What each item of a suite belongs to and is drawn with: its group, or itself where it has none."""
        groups, size = self.parts[suite].get("groups"), len(self.weights(suite))
        names = [None] * size if groups is None else [groups["names"][number] for number in groups["of"]]
        return [f"item {place}" if name is None else f"group {name}" for place, name in enumerate(names)]


def read_tasks(plan: Plan, records: Path) -> dict[str, Task]:
    """The tasks that have records, in the plan's order.

    Raises:
        ValueError: two records of a task measured different data.
    """
    found = {}
    for name, entry in plan.tasks.items():
        folder = records / name
        runs: dict[Cell, Run] = {}
        for path in sorted(folder.glob("*.items.json")):
            facts = items_of(path)
            cell = Cell(name, facts["method"], float(facts["rate"]), int(facts["seed"]))
            result = read_result(path.with_name(f"{cell.name}.json"))
            runs[cell] = Run(cell, result, facts.pop("columns"), facts)
        if runs:
            _same_data(runs.values())
            found[name] = Task(name, entry, runs, items_of(folder / "parts.json"))
    return found


def _same_data(runs: Iterable[Run]) -> None:
    """Raise where two runs measured different data, by the hashes that their records hold."""
    first, *others = runs
    for other in others:
        for name in sorted(first.measured.keys() | other.measured.keys()):
            if first.measured.get(name) != other.measured.get(name):
                both = f"{first.cell.name} and {other.cell.name}"
                raise ValueError(f"{first.cell.task}: {both} measured different data ({name}).")


class Draws:
    """Resampled items of one task: the first row counts every item once, the others are drawn with replacement.

    What was asked of it once is remembered, since many figures rest on one run's scores.
    """

    def __init__(self, task: Task, number: int, seed: int) -> None:
        self.number = number
        self._task, self._seed = task, seed
        self._counts: dict[tuple[str, str | None], Floats] = {}
        self._known: dict[tuple[Any, ...], Floats] = {}

    def counts(self, suite: str, condition: str | None = None) -> Floats:
        """(1 + number, items) how often each item of a suite, or of one of its conditions, counts.

        Items of a group are drawn together, others one by one.
        """
        key = (suite, condition)
        if key not in self._counts:
            weights, units = self._task.weights(suite), self._task.codes(suite)
            places = np.arange(len(weights)) if condition is None else self._task.places(condition, suite)
            names, unit_of = np.unique(units[places], return_inverse=True)
            generator = np.random.default_rng([self._seed, len(suite), len(names)])
            drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=self.number)
            drawn = np.vstack([np.ones(len(names), dtype=drawn.dtype), drawn])
            self._counts[key] = drawn[:, unit_of] * weights[places]
        return self._counts[key]

    def mean(self, values_: Floats, suite: str, condition: str | None = None) -> Floats:
        """(1 + number,) the weighted mean of some scores in each draw; items without a score do not count."""
        counts = self.counts(suite, condition)
        own = values_ if condition is None else values_[self._task.places(condition, suite)]
        there = np.isfinite(own)
        return np.asarray((counts @ np.where(there, own, 0.0)) / (counts @ there))

    def once(self, key: tuple[Any, ...], make: Callable[[], Floats]) -> Floats:
        """What was made for a key, or is made now."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


def gain(task: Task, run: Run, draws: Draws, condition: str = TEST) -> Floats:
    """What was gained on the task's items of a condition, in the metric's unit, more being better."""

    def made() -> Floats:
        base, tuned = run.pair(task.test_suite, task.metric)
        return task.sign * draws.mean(tuned - base, task.test_suite, condition)

    return draws.once((run.cell, condition), made)


def base_level(task: Task, draws: Draws) -> float:
    """The base's mean of the task's metric on test items."""
    base, _ = next(iter(task.runs.values())).pair(task.test_suite, task.metric)
    return float(draws.mean(base, task.test_suite, TEST)[0])


def change(task: Task, run: Run, draws: Draws, suite: str) -> Floats:
    """What a kept suite changed by, as a share: −.02 is a loss of two points. Of text, minus the KL, nats per token."""
    if suite == TEXT:
        return -text_kl(task, run, draws)
    base, tuned = run.pair(f"keep:{suite}", metric_of(run, suite))
    return draws.mean(tuned - base, f"keep:{suite}")


def kept(task: Task, run: Run, draws: Draws, suite: str) -> Floats:
    """What is left of a suite: the share of the base's lead over guessing. Of text, minus the KL."""
    if suite == TEXT:
        return -text_kl(task, run, draws)
    base, _ = run.pair(f"keep:{suite}", metric_of(run, suite))
    chance = next(score.chance for score in run.result.keep if score.name == suite)
    lead = draws.once((suite,), lambda: draws.mean(base, f"keep:{suite}")) - chance
    return 1 + change(task, run, draws, suite) / lead


def metric_of(run: Run, suite: str) -> str:
    """The metric that a suite's verdict rests on: the first of its scores."""
    return next(score.metric.name for score in run.result.keep if score.name == suite)


def text_kl(task: Task, run: Run, draws: Draws, domains: Sequence[str] | None = None) -> Floats:
    """KL(base ‖ tuned) on held-out text in nats per token, over all domains or some, each by its tokens."""
    _, tuned = run.pair(WINDOWS, KL_DIVERGENCE.name)
    if domains is None:
        return draws.mean(tuned, WINDOWS)
    tokens = [task.weights(WINDOWS)[task.places(name, WINDOWS)].sum() for name in domains]
    means = [draws.mean(tuned, WINDOWS, name) for name in domains]
    return np.asarray(np.average(means, axis=0, weights=tokens))


def methods_of(plan: Plan, task: Task) -> list[str]:
    """The methods that have runs, in the plan's order."""
    return [name for name in plan.methods if by_rate(task, name)]


def by_rate(task: Task, method: str) -> dict[float, list[Run]]:
    """The runs of a method at each of its rates, rising, by seed."""
    found: dict[float, list[Run]] = defaultdict(list)
    for cell in sorted(task.runs, key=lambda one: (one.rate, one.seed)):
        if cell.method == method:
            found[cell.rate].append(task.runs[cell])
    return dict(found)


def _array(column: str | Sequence[float | None]) -> Floats:
    return np.asarray([np.nan if value is None else value for value in values(column)], dtype=np.float64)
