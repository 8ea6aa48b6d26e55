"""Methods compared as a whole: area under the front, one axis at equal level of the other, the safe band.

A point is (task, retention), more being better on both. One setting of each method mostly compares how much it was
tuned; these figures compare curves: one method at several learning rates, or several strengths of one adapter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from retain.compare.pareto import pareto_front
from retain.errors import InputError

Point = tuple[float, float]

Place = tuple[int, float]
"""Between a setting of a curve (counted from 0) and the next: the share of the way, 0 for the setting itself."""

MARGIN = 0.02
"""Retention may fall this far, two points, and still count as safe."""

ROUNDING = 1e-9


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Area that the points dominate above a reference point: that of ⋃ [r_x, x] × [r_y, y].

    Exact: a sum of rectangles along the front. It depends on the reference, which must be stated with it. Points not
    above the reference on both axes add nothing.

    Args:
        points: (task, retention), more is better on both.
        reference: the worst that is of interest, for instance (task score of the base, retention 0).

    Raises:
        ValueError: a figure is not finite.
    """
    _check_finite([*points, reference])
    inside = [point for point in points if point[0] > reference[0] and point[1] > reference[1]]
    area, floor = 0.0, reference[1]
    for x, y in sorted((inside[index] for index in pareto_front(inside)), reverse=True):
        area += (x - reference[0]) * (y - floor)
        floor = y
    return area


def place_at_matched_task(curve: Sequence[Point], task: float) -> Place | None:
    """The place along a method's curve with its best retention among those where its task score is `task`.

    See `retention_at_matched_task`; with the place, `interpolated` reads other figures of the same settings.

    Raises:
        ValueError: a figure is not finite.
    """
    _check_finite([*curve, (task, 0.0)])
    met: list[Place] = [(index, 0.0) for index, (x, _) in enumerate(curve) if x == task]
    for index, ((x0, _), (x1, _)) in enumerate(pairwise(curve)):
        if min(x0, x1) < task < max(x0, x1):
            met.append((index, (task - x0) / (x1 - x0)))
    retention = [y for _, y in curve]
    return max(met, key=lambda place: interpolated(retention, place), default=None)


def interpolated(values: Sequence[float], place: Place) -> float:
    """A figure of each setting of a curve, read at a place between two of them, on a straight line."""
    index, share = place
    return values[index] if share == 0 else values[index] + (values[index + 1] - values[index]) * share


def retention_at_matched_task(curve: Sequence[Point], task: float) -> float | None:
    """The best retention of a method where its task score is `task`, interpolated along its curve.

    Args:
        curve: (task, retention) in the order in which the method was swept (by learning rate, or by strength);
            neighbours are joined by straight lines. It need not be monotonic: where it meets the level several times,
            the highest retention is taken, as one who may choose the setting would.
        task: the level to compare at.

    Returns:
        The retention; None where the curve never meets the level: there is no extrapolation.

    Raises:
        ValueError: a figure is not finite.
    """
    place = place_at_matched_task(curve, task)
    return None if place is None else interpolated([y for _, y in curve], place)


def task_at_matched_retention(curve: Sequence[Point], retention: float) -> float | None:
    """The best task score of a method where its retention is `retention`; see `retention_at_matched_task`."""
    return retention_at_matched_task([(y, x) for x, y in curve], retention)


def safe_band(rates: Sequence[float], changes: Sequence[float], margin: float = MARGIN) -> float:
    """Share of the swept learning rates at which retention fell by no more than the margin, 0 … 1.

    A wide band is a method that need not be tuned to keep what the model knew. It depends on the rates swept: methods
    must be swept over the same number of equal steps around their own best.

    Args:
        rates: learning rate of each run; of several runs (seeds) at one rate the mean change counts.
        changes: retention minus that of the base for each run, as shares: −.02 is a loss of two points.
        margin: how much may be lost.

    Raises:
        InputError: no runs.
        ValueError: the lists are not of one length, or a figure is not finite.
    """
    _check_finite(list(zip(rates, changes, strict=True)))
    if not len(rates):
        raise InputError("a safe band needs runs at several learning rates, and there is none: sweep the rate.")
    means = [np.mean([c for r, c in zip(rates, changes, strict=True) if r == rate]) for rate in sorted(set(rates))]
    return float(np.mean([mean >= -margin - ROUNDING for mean in means]))


def _check_finite(points: Sequence[Point]) -> None:
    if not all(math.isfinite(x) and math.isfinite(y) for x, y in points):
        raise ValueError("every figure of a trade-off must be finite.")
