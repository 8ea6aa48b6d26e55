"""The one evaluation of a column: change, test, interval and units, on which table rows and verdicts both rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from retain.records.base import Interval
from retain.records.metric import Metric
from retain.records.scores import CutOff
from retain.stats.bootstrap import ratio_intervals
from retain.stats.clusters import (
    Counts,
    Floats,
    cluster_changes,
    cluster_codes,
    cluster_interval,
    effective_number,
    graded_interval,
    graded_p,
    sign_flip_p,
)
from retain.verdict.column import Column


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One metric on one suite before and after.

    Attributes:
        suite: name of the suite, or of the domain of held-out text.
        metric: the metric.
        n: items (or windows of text).
        groups: groups of items that belong together; n where each item stands alone.
        units: independent units: n, or the effective number of groups where items come in groups, rounded down.
        base: the base's (weighted) mean, in the metric's unit.
        tuned: the tuned model's.
        change: tuned − base.
        interval: 95 % of the change; None where there are too few units for one.
        p_value: two-sided, exact McNemar or sign-flip test.
        chance: the mean of a model that knows nothing; None where the metric's range is not known.
        lost: items right before and wrong now; None for a metric with degrees.
        gained: items wrong before and right now; likewise.
        uninformed: the base is not seen to be better than a model that knows nothing, as far as `Column.uninformed`
            tells.
        can_fall: units of a metric with degrees that a model that knows nothing would make worse; of others not used.
        cut_off: written answers that the longest length ended; None where the metric rests on none.
    """

    suite: str
    metric: Metric
    n: int
    groups: int
    units: int
    base: float
    tuned: float
    change: float
    interval: Interval | None
    p_value: float
    chance: float | None
    lost: int | None = None
    gained: int | None = None
    can_fall: int = 0
    uninformed: bool = False
    cut_off: CutOff | None = None

    @property
    def mostly_cut_off(self) -> bool:
        """True where most answers of a side were cut off before their score was known."""
        return self.cut_off is not None and self.cut_off.mostly

    @property
    def loss(self) -> float:
        """The loss of the tuned model against the base, in the metric's unit: positive is worse."""
        return 0.0 - self.change if self.metric.higher_is_better else self.change  # no change is 0, not −0

    @property
    def loss_interval(self) -> Interval | None:
        """95 % of the loss."""
        if self.interval is None or not self.metric.higher_is_better:
            return self.interval
        return 0.0 - self.interval[1], 0.0 - self.interval[0]

    @property
    def scaled(self) -> bool:
        """True where a loss can be called small: of a metric with a known range, and of nats per token."""
        return self.chance is not None or self.metric.drifts

    @property
    def lead(self) -> float | None:
        """The lead of the base over a model that knows nothing; None where the range is not known."""
        if self.chance is None:
            return None
        return self.base - self.chance if self.metric.higher_is_better else self.chance - self.base


def evaluate(column: Column, generator: np.random.Generator) -> Evidence:
    """The evidence of a column.

    Args:
        column: values before and after.
        generator: source of signs and resamples; equal seeds give equal evidence.
    """
    return _counted(column, generator) if column.metric.right_or_wrong else _graded(column, generator)


def _counted(column: Column, generator: np.random.Generator) -> Evidence:
    """Evidence of a right-or-wrong metric: lost against gained, groups being the units."""
    base, tuned = column.base == 1, column.tuned == 1
    lost, gained, sizes = cluster_changes(base, tuned, column.groups)
    n = len(base)
    return Evidence(
        suite=column.suite,
        metric=column.metric,
        n=n,
        groups=len(sizes),
        units=_rounded_down(effective_number(sizes)),
        base=float(base.mean()),
        tuned=float(tuned.mean()),
        change=int(gained.sum() - lost.sum()) / n,
        interval=cluster_interval(lost, gained, sizes, generator),
        p_value=sign_flip_p(gained - lost),
        chance=column.chance,
        lost=int(lost.sum()),
        gained=int(gained.sum()),
        cut_off=column.cut_off,
    )


def _graded(column: Column, generator: np.random.Generator) -> Evidence:
    """Evidence of a metric with degrees: the mean Σ w x / Σ w before and after, groups (or items) being the units."""
    metric, share, span = column.metric, column.share, column.metric.span
    codes = cluster_codes(column.groups, len(column.base))
    changes = np.bincount(codes, weights=share * (column.tuned - column.base))
    sizes = np.bincount(codes, weights=share)
    worst = metric.worst if span is not None else None
    p_value = graded_p(changes, generator)
    known = len(sizes) > 1 or span is not None
    return Evidence(
        suite=column.suite,
        metric=metric,
        n=len(column.base),
        groups=len(sizes),
        units=len(column.base) if column.groups is None else _rounded_down(effective_number(sizes)),
        base=float(np.average(column.base, weights=share)),
        tuned=float(np.average(column.tuned, weights=share)),
        change=math.fsum(changes) / float(sizes.sum()),
        interval=graded_interval(changes, sizes, generator, span) if known else None,
        p_value=p_value,
        chance=worst,
        can_fall=_able_to_fall(column, worst, len(sizes)),
        uninformed=_is_uninformed(column, codes, sizes.astype(np.float64)),
        cut_off=column.cut_off,
    )


def _is_uninformed(column: Column, codes: Counts, sizes: Floats) -> bool:
    """True where the 95 % interval of the base's lead over a model that knows nothing is not above 0."""
    if column.uninformed is None or len(sizes) < 2:
        return False
    sign = 1.0 if column.metric.higher_is_better else -1.0
    lead = np.bincount(codes, weights=column.share * sign * (column.base - column.uninformed))
    return ratio_intervals([lead], sizes, np.random.default_rng(0))[0][0] <= 0


def _able_to_fall(column: Column, worst: float | None, units: int) -> int:
    """Units that a model that knows nothing would make worse: of nats all; of an unknown range none is known to."""
    if worst is None:
        return units if column.metric.drifts else 0
    codes = cluster_codes(column.groups, len(column.base))
    return int((np.bincount(codes, weights=column.share * np.abs(column.base - worst)) > 0).sum())


def _rounded_down(number: float) -> int:
    return math.floor(number + 1e-9)
