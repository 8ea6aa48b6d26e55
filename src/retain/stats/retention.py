"""Retention: the share of what the base knew above chance that is left."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from retain.records.base import Interval
from retain.stats.bootstrap import (
    FEW_CHANGED,
    RESAMPLES,
    clopper_pearson,
    expanded_tail,
    few_changes_interval,
)
from retain.stats.clusters import bounded_interval
from retain.stats.mcnemar import SIGNIFICANCE, Right, as_right, counts


def retention(base: float, tuned: float, chance: float) -> float | None:
    """(a_tuned − c)/(a_base − c): 1 if all is left, 0 at chance, above 1 for a gain; None where a_base ≤ c.

    Args:
        base: a_base, accuracy before, 0 … 1.
        tuned: a_tuned, accuracy after.
        chance: c, accuracy of guessing.
    """
    return (tuned - chance) / (base - chance) if base > chance else None


def retention_interval(
    base_right: Right, tuned_right: Right, chance: float, generator: np.random.Generator
) -> Interval | None:
    """Interval of the retention, chance held fixed, by the same rule as that of the change (see `bootstrap`).

    `FEW_CHANGED` items lost or gained, or more: paired bootstrap. A resample is a draw of how many of n items are right
    twice, lost, gained and wrong twice. A resample in which the base is not above chance leaves the retention open: it
    counts as −∞ for the lower end and as +∞ for the upper. Fewer changed: closed form, `_few_changes`.

    Args:
        base_right: (n,), whether the base is right.
        tuned_right: (n,), the same items.
        chance: c, accuracy of guessing.
        generator: source of the resamples.

    Returns:
        The interval, or None where an end is infinite: the base is then not surely above chance.
    """
    base, tuned = as_right(base_right), as_right(tuned_right)
    lost, gained = counts(base, tuned)
    if lost + gained < FEW_CHANGED:
        return _few_changes(lost, gained, int(base.sum()), len(base), chance)
    both, n = int((base & tuned).sum()), len(base)
    cells = np.array([both, lost, gained, n - both - lost - gained])
    drawn = generator.multinomial(n, cells / n, size=RESAMPLES)
    base_above = (drawn[:, 0] + drawn[:, 1]) / n - chance
    tuned_above = (drawn[:, 0] + drawn[:, 2]) / n - chance
    known = base_above > 0
    ratio = np.divide(tuned_above, base_above, out=np.zeros(RESAMPLES), where=known)
    tail = expanded_tail(lost + gained)
    low = np.quantile(np.where(known, ratio, -np.inf), tail, method="lower")
    high = np.quantile(np.where(known, ratio, np.inf), 1 - tail, method="higher")
    return (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else None


def _few_changes(lost: int, gained: int, right: int, n: int, chance: float) -> Interval | None:
    """Interval of 1 + δ/β, with δ = gained − lost and β = a_base − c, from the limits of δ and of β.

    Square-and-add for a ratio: the ends ρ solve |δ − ρβ| = √(d² + ρ²e²), where d is the distance from δ to its limit on
    that side and e the distance from β to the limit that moves the ratio outwards. (Donner and Zou, Statist. Methods
    Med. Res. 21, 2012, 347–359. δ and β are taken as independent; in truth they move against each other, which makes
    the ratio steadier than we say.) The interval holds 1 exactly where that of δ holds 0.
    """
    delta, beta = (gained - lost) / n, right / n - chance
    low, high = few_changes_interval(lost, gained, n)
    base_low, base_high = (limit - chance for limit in clopper_pearson(right, n))
    inward, outward = beta - base_low, base_high - beta
    if base_low <= 0 or outward >= beta:
        return None

    def end(distance: float, base_distance: float, sign: int) -> float:
        square = beta**2 - base_distance**2
        root = math.sqrt(max((delta * beta) ** 2 - square * (delta**2 - distance**2), 0.0))
        return 1 + (delta * beta + sign * root) / square

    lower = end(delta - low, inward if low < 0 else outward, -1)
    return lower, end(high - delta, inward if high > 0 else outward, 1)


def above_chance(right: int, n: int, chance: float) -> bool:
    """True where a model is right more often than guessing would be, by the one-sided exact binomial test at 5 %.

    P(X ≥ k) < .05 for X ~ Binomial(n, c). Where items differ in their chance, c is its mean: the true null
    distribution is then less spread (Hoeffding, Ann. Math. Statist. 27, 1956, 713–721), so the test errs to the careful
    side.

    Args:
        right: k, items that are right.
        n: items; where they come in groups their effective number, and k the same share of it.
        chance: c, accuracy of guessing.
    """
    return float(stats.binomtest(right, n, chance, alternative="greater").pvalue) < SIGNIFICANCE


def grouped_retention(
    right: NDArray[Any], sizes: NDArray[Any], chance: float, change: Interval, generator: np.random.Generator
) -> Interval | None:
    """Interval of 1 + δ/β where items come in groups: the extremes over the intervals of δ and of β = a_base − c.

    Both intervals hold 95 %; taking the worst of both is wider than it need be, and the safe side.

    Args:
        right: (groups,) items of each that the base has right.
        sizes: (groups,) items in each.
        chance: c, accuracy of guessing.
        change: interval of δ, the change of the accuracy.
        generator: source of the resamples.

    Returns:
        The interval, or None where the base is not surely above chance.
    """
    low, high = (limit - chance for limit in bounded_interval(right, sizes, 1.0, generator))
    if low <= 0:
        return None
    ends = [1 + delta / beta for delta in change for beta in (low, high)]
    return min(ends), max(ends)
