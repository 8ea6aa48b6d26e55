"""Several tests in one report: p-values that may be compared with .05 although many tests were made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: of p_(1) ≤ … ≤ p_(m), the k-th becomes max over j ≤ k of min(1, (m − j + 1) p_(j)).

    Calling a test significant where its adjusted p is below α keeps the probability of any false alarm among all m
    tests at α or below, however the tests depend on one another (Holm, Scand. J. Statist. 6, 1979, 65–70).

    Args:
        p_values: one of each test, in any order.

    Returns:
        The adjusted p-values in the order given.

    Raises:
        ValueError: a value is not in [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must lie in [0, 1].")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]
