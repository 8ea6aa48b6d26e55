"""What one metric says about one suite: the plain figures that a verdict rests on, made from values item by item."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.errors import InputError
from retain.records.base import Interval
from retain.stats.clusters import (
    Groups,
    cluster_changes,
    cluster_codes,
    cluster_interval,
    effective_number,
    graded_interval,
    graded_p,
    sign_flip_p,
)
from retain.stats.mcnemar import as_right

TOLERANCE = 0.05
"""Largest loss that counts as kept: five points of a right-or-wrong metric, .05 nats per token of a language."""


DRIFTING = "nats_per_token"
"""How the names of metrics end that every training moves a little."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One metric on one suite before and after; more is better, so a negative change is for the worse.

    Attributes:
        name: of the suite.
        metric: of the metric.
        right_or_wrong: whether each item is right or wrong; otherwise the metric has degrees.
        n: items (or windows of text).
        units: independent units: n, or the effective number of groups where items come in groups, rounded down.
        base: the base's mean, turned so that more is better.
        chance: what a model that lost everything would have in the mean; None where that has no bound, as for nats.
        can_fall: units of a metric with degrees that a model that lost everything would lower; of others not used.
        change: mean change, tuned − base, in the metric's unit.
        p_value: two-sided, exact McNemar or sign-flip test.
        interval: 95 % of the change; None where there are too few units for one.
        margin: largest loss that counts as kept, in the metric's unit, > 0.
        lost: items right before and wrong now; None for a metric with degrees.
        gained: items wrong before and right now; likewise.
        drifts: whether any training moves it a little, as nats per token, so that a small loss is no loss yet.
    """

    name: str
    metric: str
    right_or_wrong: bool
    n: int
    units: int
    base: float
    chance: float | None
    change: float
    p_value: float
    interval: Interval | None
    margin: float
    can_fall: int = 0
    lost: int | None = None
    gained: int | None = None
    drifts: bool = False


def right_or_wrong(
    name: str,
    metric: str,
    base_right: NDArray[Any],
    tuned_right: NDArray[Any],
    chance: float | NDArray[Any],
    generator: np.random.Generator,
    *,
    groups: Groups = None,
    margin: float = TOLERANCE,
) -> Evidence:
    """Evidence of a right-or-wrong metric.

    Args:
        name: of the suite.
        metric: of the metric.
        base_right: (n,) booleans, whether the base is right.
        tuned_right: (n,) booleans, the same items.
        chance: probability of guessing right, one figure or one for each item (of which the mean is taken).
        generator: source of the resamples; equal seeds give equal evidence.
        groups: (n,) what each item belongs to; None: every item stands alone.
        margin: largest loss that counts as kept, as a share of the items.

    Raises:
        InputError: the suite is empty.
        ValueError: the arrays are not paired, or chance is not in [0, 1).
    """
    base = as_right(base_right)
    lost, gained, sizes = cluster_changes(base, tuned_right, groups)
    n, guess = len(base), np.asarray(chance, dtype=np.float64)
    if not n:
        raise InputError(f"suite {name!r} holds no items, so nothing can be said of it: give some, or leave it out.")
    if not ((guess >= 0) & (guess < 1)).all():
        raise ValueError("chance must lie in [0, 1).")
    return Evidence(
        name=name,
        metric=metric,
        right_or_wrong=True,
        n=n,
        units=_whole(effective_number(sizes)),
        base=float(base.mean()),
        chance=float(guess.mean()),
        change=int(gained.sum() - lost.sum()) / n,
        p_value=sign_flip_p(gained - lost),
        interval=cluster_interval(lost, gained, sizes, generator),
        margin=margin,
        lost=int(lost.sum()),
        gained=int(gained.sum()),
    )


def graded(
    name: str,
    metric: str,
    base: NDArray[Any],
    tuned: NDArray[Any],
    generator: np.random.Generator,
    *,
    higher_is_better: bool,
    weights: NDArray[Any] | None = None,
    groups: Groups = None,
    worst: float | None = None,
    largest: float | None = None,
    margin: float = TOLERANCE,
) -> Evidence:
    """Evidence of a metric with degrees: the mean Σ w x / Σ w before and after, groups (or items) being the units.

    Args:
        name: of the suite.
        metric: of the metric.
        base: (n,) the metric of each item (or window) before.
        tuned: (n,) after.
        generator: source of the signs and resamples; equal seeds give equal evidence.
        higher_is_better: whether more of the metric is better; otherwise all is turned round.
        weights: (n,) > 0, for instance tokens of each window, base and tuned being its means per token.
        groups: (n,) what each item belongs to; None: every item stands alone.
        worst: what a model that lost everything would have, in the metric's own unit: 0 for chrF; None for nats.
        largest: the largest change of one item that the metric allows, 100 for chrF; None for nats.
        margin: largest loss that counts as kept, in the metric's unit.

    Raises:
        InputError: the suite is empty.
        ValueError: the arrays are not of one length, or a value is not finite.
    """
    sign = 1.0 if higher_is_better else -1.0
    before, after = (sign * np.asarray(side, dtype=np.float64) for side in (base, tuned))
    share = np.ones_like(before) if weights is None else np.asarray(weights, dtype=np.float64)
    if before.ndim != 1 or not before.shape == after.shape == share.shape:
        raise ValueError(f"arrays of one length expected, got {before.shape}, {after.shape}, {share.shape}.")
    if not before.size:
        raise InputError(f"suite {name!r} holds no items, so nothing can be said of it: give some, or leave it out.")
    codes = cluster_codes(groups, len(before))
    changes, sizes = (np.bincount(codes, weights=x) for x in (share * (after - before), share))
    high = np.bincount(codes, weights=share * (before - (0.0 if worst is None else sign * worst)))
    known = len(sizes) > 1 or largest is not None
    return Evidence(
        name=name,
        metric=metric,
        right_or_wrong=False,
        n=len(before),
        units=len(before) if groups is None else _whole(effective_number(sizes)),
        base=float(np.average(before, weights=share)),
        chance=None if worst is None else sign * worst,
        change=math.fsum(changes) / float(sizes.sum()),
        p_value=graded_p(changes, generator),
        interval=graded_interval(changes, sizes, generator, largest) if known else None,
        margin=margin,
        can_fall=len(sizes) if worst is None else int((high > 0).sum()),
        drifts=metric.endswith(DRIFTING),
    )


def _whole(number: float) -> int:
    return math.floor(number + 1e-9)
