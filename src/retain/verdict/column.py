"""One metric of one suite on both sides, value by value: what every score, interval and verdict is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.errors import InputError, RetainError
from retain.records.items import Item, Side
from retain.records.metric import Metric
from retain.records.metrics_table import CROSS_ENTROPY, UNREAD, rests_on_writing
from retain.records.scores import CutOff
from retain.stats.clusters import Floats, Groups, named_groups

LARGEST = 1e100
"""The largest size of a value: squares of such values can be added."""

ROUNDING = 1e-9
"""By so much of itself may a value lie outside the metric's range."""


@dataclass(frozen=True, eq=False)
class Column:
    """The values of one metric on the items that have it, paired by item.

    Attributes:
        suite: name of the suite, or of the domain of held-out text.
        metric: the metric.
        base: (n,) values before.
        tuned: (n,) values after, of the same items.
        chance: mean probability of guessing right, for a right-or-wrong metric.
        weights: (n,) > 0, what each item counts in the mean, for instance its tokens; None: all alike.
        groups: (n,) the group of each item, where items come in groups: these are then the units; None: all alone.
        uninformed: (n,) values of a model that knows nothing, for a metric without a worst value: of a cross-entropy
            those of a model that always predicts the same; None: not known.
        cut_off: how many written answers were cut off; None where the metric rests on none.

    Raises:
        InputError: there is no item, or a value lies outside the metric's range.
        RetainError: a value is not finite.
        ValueError: the arrays are not paired, or chance is not in [0, 1).
    """

    suite: str
    metric: Metric
    base: Floats
    tuned: Floats
    chance: float = 0.0
    weights: Floats | None = None
    groups: Groups = None
    uninformed: Floats | None = None
    cut_off: CutOff | None = None

    def __post_init__(self) -> None:
        sides = [np.asarray(side, dtype=np.float64) for side in (self.base, self.tuned)]
        weights = None if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        for name, value in (("base", sides[0]), ("tuned", sides[1]), ("weights", weights)):
            object.__setattr__(self, name, value)
        shapes = [each.shape for each in (*sides, weights) if each is not None]
        if len(shapes[0]) != 1 or len(set(shapes)) > 1:
            raise ValueError(f"arrays of one length expected, got {', '.join(map(str, shapes))}.")
        if not len(self.base):
            raise InputError(f"{self.suite}: holds no items, so nothing can be said of it: give some, or leave it out.")
        if not 0 <= self.chance < 1:
            raise ValueError("chance must lie in [0, 1).")
        for side, values in zip(("base", "tuned"), sides, strict=True):
            self._check(side, values)

    def _check(self, side: str, values: Floats) -> None:
        if np.isfinite(values).all() and np.abs(values).max() > LARGEST:
            raise InputError(
                f"{self.metric.name} of {self.suite!r}, {side}: {values[np.argmax(np.abs(values))]:g} is too large to "
                "be averaged with others."
            )
        if not np.isfinite(values).all():
            place = int(np.argmin(np.isfinite(values)))
            raise RetainError(
                f"{self.metric.name} of the {side} model is not finite on item {place + 1} of {self.suite!r}: its "
                "output is broken. Try a lower learning rate, or a dtype with more range."
            )
        low, high = self.metric.low, self.metric.high
        inside = (low is None or values.min() >= low - ROUNDING * abs(low)) and (
            high is None or values.max() <= high + ROUNDING * abs(high)
        )
        if not inside or (self.metric.right_or_wrong and not np.isin(values, (0, 1)).all()):
            raise InputError(
                f"{self.metric.name} of {self.suite!r}, {side}: values from {values.min():g} to {values.max():g} are "
                f"not what the metric declares ({_declared(self.metric)})."
            )

    @property
    def share(self) -> Floats:
        """(n,) what each item counts."""
        return np.ones_like(self.base) if self.weights is None else self.weights

    def where(self, chosen: NDArray[np.bool_]) -> Column:
        """The part of the items that are chosen, (n,) booleans."""
        groups = self.groups
        return replace(
            self,
            base=self.base[chosen],
            tuned=self.tuned[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            uninformed=None if self.uninformed is None else self.uninformed[chosen],
            groups=None if groups is None else [groups[int(place)] for place in np.flatnonzero(chosen)],
        )


def _declared(metric: Metric) -> str:
    if metric.right_or_wrong:
        return "0 and 1"
    ends = ["no smallest value" if metric.low is None else f"from {metric.low:g}"]
    return ", ".join([*ends, "no largest value" if metric.high is None else f"to {metric.high:g}"])


def scored_by(items: Sequence[Item], metric: Metric) -> list[Item]:
    """The items that have a value of the metric on both sides."""
    return [item for item in items if metric.name in item.base.scores and metric.name in item.tuned.scores]


def cut_off_of(metric: Metric, items: Sequence[Item], limit: int | None, option: str) -> CutOff | None:
    """How many written answers of each side were cut off; None where the metric rests on none, or they do not tell.

    Args:
        metric: the metric.
        items: those that have it.
        limit: the longest answer in tokens.
        option: where that is set.
    """
    written = [item for item in items if item.base.cut_off is not None and item.tuned.cut_off is not None]
    if not written or not rests_on_writing(metric):
        return None

    def unknown(side: Side) -> bool:
        known = side.scores[metric.name] == 1 if metric.right_or_wrong else bool((side.answer or "").strip())
        return bool(side.cut_off) and not known

    return CutOff(
        written=len(written),
        base=sum(bool(item.base.cut_off) for item in written),
        tuned=sum(bool(item.tuned.cut_off) for item in written),
        base_unknown=sum(unknown(item.base) for item in written),
        tuned_unknown=sum(unknown(item.tuned) for item in written),
        limit=limit,
        option=option,
    )


def column_of_items(
    suite: str,
    metric: Metric,
    items: Sequence[Item],
    chance: float = 0.0,
    limit: int | None = None,
    option: str = "",
) -> Column:
    """The column of one metric from a suite's items.

    Args:
        suite: name that the evidence will have.
        metric: the metric.
        items: of the suite; those without the metric are left out.
        chance: mean probability of guessing right.
        limit: the longest written answer in tokens.
        option: where that is set.

    Raises:
        InputError: no item has the metric.
    """
    having = scored_by(items, metric)
    weights: Any = None
    if metric.weight:
        weights = np.asarray([item.base.scores.get(metric.weight, 1.0) for item in having])
    unread = [item.base.scores.get(UNREAD) for item in having] if metric == CROSS_ENTROPY else []
    return Column(
        suite,
        metric,
        np.asarray([item.base.scores[metric.name] for item in having], dtype=np.float64),
        np.asarray([item.tuned.scores[metric.name] for item in having], dtype=np.float64),
        chance,
        weights,
        named_groups([item.group for item in having]),
        np.asarray(unread, dtype=np.float64) if unread and None not in unread else None,
        cut_off_of(metric, having, limit, option),
    )
