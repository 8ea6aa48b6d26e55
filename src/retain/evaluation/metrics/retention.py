"""How much of what the base knew is left, as a share of what it knew above chance."""

from __future__ import annotations

import numpy as np
from scipy import stats

from retain.evaluation.metrics.bootstrap import RESAMPLES, expanded_tail
from retain.evaluation.metrics.paired import SIGNIFICANCE, Right, as_right, counts
from retain.results import Interval


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
    """Interval of the retention by paired bootstrap over items, chance held fixed.

    A resample is a draw of how many of n items are right twice, lost, gained and wrong twice. To the items seen, one
    lost and one gained are added (as Bonett and Price, J. Educ. Behav. Statist. 37, 2012, do for the
    difference): otherwise a model that changed nothing on the items at hand would get an interval of no width.
    A resample in which the base is not above chance leaves the retention open: it counts as −∞ for the lower end
    and as +∞ for the upper. Where an end is then infinite (the base is not surely above chance) there is none.

    Args:
        base_right: (n,), whether the base is right.
        tuned_right: (n,), the same items.
        chance: c, accuracy of guessing.
        generator: source of the resamples.

    Returns:
        The interval, or None where the base is too near to chance for one.
    """
    base, tuned = as_right(base_right), as_right(tuned_right)
    lost, gained = counts(base, tuned)
    both = int((base & tuned).sum())
    cells = np.array([both, lost + 1, gained + 1, len(base) - both - lost - gained])
    n = int(cells.sum())
    drawn = generator.multinomial(n, cells / n, size=RESAMPLES)
    base_above = (drawn[:, 0] + drawn[:, 1]) / n - chance
    tuned_above = (drawn[:, 0] + drawn[:, 2]) / n - chance
    known = base_above > 0
    ratio = np.divide(tuned_above, base_above, out=np.zeros(RESAMPLES), where=known)
    tail = expanded_tail(lost + gained + 2)
    low = np.quantile(np.where(known, ratio, -np.inf), tail, method="lower")
    high = np.quantile(np.where(known, ratio, np.inf), 1 - tail, method="higher")
    return (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else None


def above_chance(right: Right, chance: float) -> bool:
    """Whether a model is right more often than guessing would be, by the one-sided exact binomial test at 5 %.

    P(X ≥ k) < .05 for X ~ Binomial(n, c), k items right of n. Where items differ in their chance, c is its mean:
    the true null distribution is then less spread (Hoeffding, Ann. Math. Statist. 27, 1956, 713–721), so the
    test errs to the careful side.
    """
    array = as_right(right)
    return float(stats.binomtest(int(array.sum()), len(array), chance, alternative="greater").pvalue) < SIGNIFICANCE
