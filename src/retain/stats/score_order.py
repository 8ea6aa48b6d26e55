"""The order in which outcomes speak against a net loss: by the upper bounds that the score test gives them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

STEPS, ROUNDS = 64, 8
"""A bound is found by cutting what is left into so many steps, so many times: to the last digit."""

TIE = 1e-9
"""Statistics that differ by less are equal: what rounding leaves of equal ones."""


def score(lost: Floats | float, gained: Floats | float, n: int, limit: Floats | float) -> Floats:
    """Tango's score statistic of H0: p_L − p_G ≥ limit (Statist. Med. 17, 1998, p. 891); the lower, the less is lost.

        z = (L − G − nδ) / √(n(2p̃ + δ − δ²)),

    δ being the limit and p̃ the rate p_G that is likeliest under p_L − p_G = δ, the larger root of

        2n p² + (−L − G + (2n − L + G)δ) p − Gδ(1 − δ) = 0.

    Where z < 0 it rises with L and falls with G and δ. Let λ be the derivative in δ of the log-likelihood at p̃. That
    is concave, so λ falls with δ; λ = (L − G − nδ)/(2p̃ + δ − δ²) and hence z² = |λ|(nδ − L + G), in which both
    factors rise with δ. They rise with G, too: dλ/dG = d(log p_G − log p_0)/dδ at p̃, p_0 being the rate of no change,
    and that is not positive since L/p_L is not negative. And p̃ rises with L, dp̃/dL = p̃(1 + δ)/√discriminant, so that
    |nδ − L + G| falls and the variance rises.

    Args:
        lost: L, a number or an array, as gained and limit; of shapes that go together.
        gained: G.
        n: items in all.
        limit: δ, in [−1, 1].
    """
    excess = np.asarray(lost - gained - n * limit, dtype=np.float64)
    half = np.asarray(lost + gained - (2 * n - lost + gained) * limit, dtype=np.float64) / 2
    product = np.asarray(2 * n * gained * limit * (1 - limit), dtype=np.float64)
    root = np.sqrt(np.maximum(half**2 + product, 0.0))
    otherwise = np.divide(
        product, root - half, out=np.zeros_like(root), where=half < 0
    )  # no difference of like numbers
    rate = np.where(half < 0, otherwise, root + half) / (2 * n)
    variance = n * np.maximum(2 * rate + limit - limit**2, 0.0)
    certain = np.where(excess == 0, 0.0, np.copysign(np.inf, excess))
    statistic: Floats = np.divide(excess, np.sqrt(variance), out=certain, where=variance > 0)
    return statistic


def score_bound(lost: int, gained: int, n: int, confidence: float) -> float:
    """The upper bound of the net loss by Tango's test: the least limit with z ≤ −z_confidence, 1 if all was lost.

    Approximate by itself. It rises with lost and falls with gained, and puts all outcomes into an order.
    """
    threshold = -float(special.ndtri(confidence))
    low: float = (lost - gained) / n
    high: float = min(1.0, low - threshold / n**0.5)  # enough, as the variance is n at most
    for _ in range(ROUNDS):
        limits = np.linspace(low, high, STEPS + 1)
        shown = score(float(lost), float(gained), n, limits[1:-1]) <= threshold
        first = int(shown.argmax()) + 1 if shown.any() else STEPS
        low, high = float(limits[first - 1]), float(limits[first])
    return high


def most_lost(bound: float, n: int, confidence: float, last: int) -> Floats:
    """The outcomes whose `score_bound` is at most the one given, as b(g) for g = 0 … last: those with l ≤ b(g) lost.

    They are those with z ≤ −z_confidence at that limit. Bounds that differ by rounding are the same.

    Args:
        bound: of the outcome observed.
        n: items in all.
        confidence: of the order, at least .5.
        last: the largest g asked for, at most n.

    Returns:
        b, (last + 1,), not decreasing, −1 where no l is small enough. Of the sets of two bounds one holds the other,
        and with (l, g) each holds (l − 1, g) and (l, g + 1).
    """
    threshold = -float(special.ndtri(confidence)) + TIE
    g = np.arange(last + 1.0)
    middle = g + n * bound  # where z is 0; the variance is n at most
    low: Floats = np.clip(np.floor(middle + threshold * n**0.5) - 1, -1.0, n - g)
    high: Floats = np.minimum(np.floor(middle) + 2, n - g + 1)
    while (high - low > 1).any():
        middle = np.floor((low + high) / 2)
        inside = score(middle, g, n, bound) <= threshold
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low
