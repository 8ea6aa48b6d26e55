"""Right and wrong before and after, paired by item: what was lost, what was gained, and whether chance explains it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

SIGNIFICANCE = 0.05
"""Level of every test in this package."""

Right = NDArray[np.bool_]


def counts(base_right: Right, tuned_right: Right) -> tuple[int, int]:
    """Items (lost, gained): base right and tuned wrong, base wrong and tuned right; arrays (n,), paired by item."""
    base, tuned = as_right(base_right), as_right(tuned_right)
    if base.shape != tuned.shape or base.ndim != 1:
        raise ValueError(f"two vectors of one length expected, got shapes {base.shape} and {tuned.shape}.")
    return int((base & ~tuned).sum()), int((~base & tuned).sum())


def as_right(values: object) -> Right:
    """Right-or-wrong values as booleans; anything but true, false, 0 and 1 is refused rather than rounded."""
    array = np.asarray(values)
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise ValueError("right-or-wrong values must be true or false (or 1 and 0).")
    return array.astype(np.bool_)


def mcnemar_p(lost: int, gained: int) -> float:
    """Exact two-sided McNemar test of lost against gained.

    If tuning neither costs nor gives, each of the m = lost + gained items that changed went either way with
    probability ½: p = P(|X − m/2| ≥ |lost − m/2|), X ~ Binomial(m, ½). 1 where nothing changed.
    (McNemar, Psychometrika 12, 1947; exact form as in Fagerland, Lydersen, Laake, BMC Med. Res. Methodol. 13:91, 2013.)
    """
    one_side = special.bdtr(min(lost, gained), lost + gained, 0.5)
    return min(1.0, float(2 * one_side))


def detectable_loss(n: int) -> float | None:
    """The smallest net loss, as a share of n items, that the exact test could call significant; None if there is none.

    That is k/n with the smallest k for which k lost and none gained give p < .05: 2 · ½ᵏ < .05, k = 6.
    """
    k = 1
    while mcnemar_p(k, 0) >= SIGNIFICANCE:
        k += 1
    return k / n if k <= n else None
