"""Budgets: how much of the gain is left when no more than a limit may be lost, and that has to be certified.

From the records alone. The items of each kept suite are parted into two halves by hashes of what identifies them (the
group, or the item's place in the suite). One half is control data: it certifies. The other, which no certificate sees,
reports what was lost. Then the halves change places, and figures are means of both. Of a method's rates the weakest is
tested first, each at the full level, until one fails (`retain.budget.certify.fixed_sequence`, an intersection-union
test where several suites have the limit); of those that passed, the one that is best on validation items is taken, and
where none passed the base, which gains nothing. Test items of the task choose nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from evidence import VALIDATION, Draws, Floats, Run, Task, by_rate, gain, metric_of
from numpy.typing import NDArray
from plan import Cell

from retain.stats.bounds import mean_p_value
from retain.stats.net_loss import net_loss_p_value, within_limit
from retain.stats.planning import fewest_items_to_certify, fewest_units_to_certify

LIMITS = (0.02, 0.05, 0.10)
CONFIDENCE = 0.95
HALVES = (0, 1)
SALT = "retain benchmark, control halves, 1"


@dataclass(frozen=True)
class Losses:
    """What one run lost on one half of a suite, unit by unit; base minus tuned, so positive is lost.

    Attributes:
        values: (n,) of single items −1, 0 or 1; of groups sums over their items, scaled so that the mean is the items'.
        single: units are single items, so that the exact test applies.
        largest: no loss of a unit can be larger.
    """

    values: Floats
    single: bool
    largest: float

    @property
    def mean(self) -> float:
        """The mean loss."""
        return float(self.values.mean())

    @property
    def _counts(self) -> tuple[int, int, int]:
        return int((self.values > 0).sum()), int((self.values < 0).sum()), len(self.values)

    def within(self, limit: float) -> bool:
        """True where these items show, at 95 % confidence, that less than the limit is lost."""
        if self.single:
            return self.mean <= limit and certified(*self._counts, limit)
        shown = mean_p_value(self.values, limit, -self.largest, self.largest) <= 1 - CONFIDENCE
        return self.mean <= limit and shown

    def beyond(self, limit: float) -> bool:
        """True where these items show, at 95 % confidence, that more than the limit is lost."""
        lost, gained, n = self._counts
        if self.single:
            return net_loss_p_value(gained, lost, n, -limit, CONFIDENCE) <= 1 - CONFIDENCE
        return mean_p_value(-self.values, -limit, -self.largest, self.largest) <= 1 - CONFIDENCE

    def enough(self, limit: float) -> bool:
        """True where a model that loses nothing could be certified with so many units."""
        if self.single:
            fewest = fewest_items_to_certify(limit, CONFIDENCE)
        else:
            fewest = fewest_units_to_certify(limit, CONFIDENCE, self.largest)
        return fewest is not None and len(self.values) >= fewest


@cache
def certified(lost: int, gained: int, n: int, limit: float) -> bool:
    """The exact test at 95 %, which many runs ask of the same counts; what keeps a limit keeps every larger one."""
    smaller = [one for one in LIMITS if one < limit]
    if smaller and lost - gained <= smaller[-1] * n and certified(lost, gained, n, smaller[-1]):
        return True
    return within_limit(lost, gained, n, limit, CONFIDENCE)


class Budgets:
    """The certificates of all runs of a task, each tested once."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._losses: dict[tuple[Cell, str, int], Losses] = {}
        self._within: dict[tuple[Cell, str, int, float], bool] = {}
        self._validation: dict[Cell, float] = {}
        self._possible: dict[tuple[str, int, float], bool] = {}
        self._halves: dict[tuple[str, int], NDArray[np.bool_]] = {}

    @cached_property
    def suites(self) -> tuple[str, ...]:
        """The suites that a limit is set for: all that are to be kept and are right or wrong, so not text."""
        return tuple(self.task.entry["keep"])

    def half(self, suite: str, half: int) -> NDArray[np.bool_]:
        """(items,) which items of a suite are of one half of its units."""
        if (suite, half) in self._halves:
            return self._halves[suite, half]
        units = self.task.units(f"keep:{suite}")
        order = sorted(set(units), key=lambda unit: hashlib.sha256(f"{SALT}\0{suite}\0{unit}".encode()).digest())
        first = set(order[: len(order) // 2])
        self._halves[suite, half] = np.asarray([(unit in first) == (half == 0) for unit in units])
        return self._halves[suite, half]

    def losses(self, run: Run, suite: str, half: int) -> Losses:
        """What a run lost on one half of a suite."""
        key = (run.cell, suite, half)
        if key not in self._losses:
            base, tuned = run.pair(f"keep:{suite}", metric_of(run, suite))
            own = self.half(suite, half) & np.isfinite(base) & np.isfinite(tuned)
            lost = (base - tuned)[own]
            _, unit = np.unique(self.task.codes(f"keep:{suite}")[own], return_inverse=True)
            sizes = np.bincount(unit)
            scale = len(sizes) / len(lost)
            single = len(sizes) == len(lost)
            self._losses[key] = Losses(
                np.bincount(unit, lost).astype(np.float64) * scale, single, largest=sizes.max() * scale
            )
        return self._losses[key]

    def within(self, run: Run, suite: str, half: int, limit: float) -> bool:
        """Whether one half of a suite certifies that a run keeps a limit."""
        key = (run.cell, suite, half, limit)
        if key not in self._within:
            self._within[key] = self.losses(run, suite, half).within(limit)
        return self._within[key]

    def possible(self, suites: Sequence[str], limit: float) -> bool:
        """Whether the halves have enough items for any certificate of a limit."""
        return all(self._enough(suite, half, limit) for suite in suites for half in HALVES)

    def _enough(self, suite: str, half: int, limit: float) -> bool:
        key = (suite, half, limit)
        if key not in self._possible:
            self._possible[key] = self.losses(next(iter(self.task.runs.values())), suite, half).enough(limit)
        return self._possible[key]

    def delivered(self, method: str, seed: int, suites: Sequence[str], limit: float, half: int) -> Run | None:
        """The run that is taken where all these suites have the limit; None leaves the base.

        The rates that were run with one seed alone are that seed's for every other.
        """
        passed: list[Run] = []
        for runs in by_rate(self.task, method).values():
            run = next((one for one in runs if one.cell.seed == seed), runs[0])
            if not all(self.within(run, suite, half, limit) for suite in suites):
                break
            passed.append(run)
        return max(passed, key=self.validation, default=None)

    def validation(self, run: Run) -> float:
        """What a run gained on validation items."""
        if run.cell not in self._validation:
            self._validation[run.cell] = float(gain(self.task, run, Draws(self.task, 1, 0), VALIDATION)[0])
        return self._validation[run.cell]

    def taken(self, method: str, rate: float, suites: Sequence[str], limit: float) -> list[list[Run | None]]:
        """What is delivered at a limit with each seed of the chosen rate, by each half."""
        seeds = [run.cell.seed for run in by_rate(self.task, method)[rate]]
        return [[self.delivered(method, seed, suites, limit, half) for half in HALVES] for seed in seeds]

    def checked(self, suite: str, limit: float) -> tuple[int, int, int, int]:
        """Of all runs, in both directions: certificates tested, those that held, and of these how many runs lost more.

        More on the other half, by the figure, and shown by a test at 95 % confidence.
        """
        held = [
            self.losses(run, suite, 1 - half)
            for run in self.task.runs.values()
            for half in HALVES
            if self.within(run, suite, half, limit)
        ]
        above = [other for other in held if other.mean > limit]
        return len(HALVES) * len(self.task.runs), len(held), len(above), sum(other.beyond(limit) for other in above)
