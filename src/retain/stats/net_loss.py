"""The exact test of "the net loss is the limit or more" and the bound it gives, for items that are right or wrong.

Single, independent items; nothing relies on large numbers. A loss is base minus tuned, so positive means lost.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from retain.stats.bounds import RESOLUTION
from retain.stats.ceiling import ceiling
from retain.stats.score_order import most_lost, score_bound

Floats = NDArray[np.float64]

NUISANCE_SHARE = 0.02
"""Share of the error of a bound that is spent on the unknown rate of changes (Berger and Boos's gamma)."""

ROUNDING = 1e-8
"""Added to every p-value: more than rounding can take from the sum of a tail."""

AT_ONCE = 32
"""Rates for which tails are added up together, over the same numbers gained."""


@lru_cache(maxsize=16384)
def net_loss_p_value(lost: int, gained: int, n: int, limit: float, confidence: float = 0.95) -> float:
    """Exact p-value of H0: P(base right, tuned wrong) − P(base wrong, tuned right) ≥ limit, for n independent items.

    With rates p_L, p_G the numbers (L, G) are trinomial. Outcomes are ordered by the approximate upper bound that the
    score test gives them at this confidence (`score_order`); C is the set of those with the observed one's or a smaller
    bound. One rate remains unknown. By Berger and Boos (JASA 89, 1994, p. 1012)

        p = gamma + sup {P(C) : p_L − p_G ≥ limit, p_L ≤ u},

    u being the Clopper-Pearson upper bound of p_L, missed with probability at most gamma = `NUISANCE_SHARE` of 1 −
    confidence. Under H0 then P(p ≤ a) ≤ a for every a, since of two sets C one holds the other.

    With (l, g) C holds (l − 1, g), (l, g + 1) and therefore (l − 1, g + 1). So P(C) rises when p_G rises with p_L held
    (items that did not change become gained: the same draws, and none leaves C). Of all pairs with one p_L the one at
    p_L − p_G = limit is largest; where there is none, as the rates would sum to more than 1, turning lost into gained
    leads to p_L = (1 + limit)/2, where there is. So p_L from max(0, limit) to min(u, (1 + limit)/2) is all there is to
    search. P(C) is a polynomial there, and `ceiling` gives its largest value from above.

    C does not depend on the limit, fewer rates are searched as the limit rises, and u depends on lost alone: so p falls
    with limit and gained and rises with lost, but for what the ceiling lies above the supremum. Against the order by
    L − G, with gamma a tenth, nothing that was certified is lost: compared over all outcomes with up to n/2 gained for
    n = 61, 80, 115, 155 and 203, limits of 1, 2, 5 and 10 points and confidences of .8, .9, .95 and .99
    (`benchmarks/certificate.py --compare`).

    Args:
        lost: items that the base has right and the tuned model wrong.
        gained: items that the tuned model has right and the base wrong.
        n: items in all.
        limit: net loss as a share of the items, in [−1, 1].
        confidence: that is asked for, in [.5, 1), to be fixed before the data are seen. p is valid at every level, and
            small where it matters at this one.

    Returns:
        p in [gamma, 1], above the supremum by 1e-5 near .05, by 2e-4 at most. 1 for limit = 0 unless clearly more was
        gained than lost: that nothing is lost cannot be shown by losing nothing.

    Raises:
        ValueError: counts that are no counts, limit or confidence outside their ranges.
    """
    _check(lost, gained, n, confidence)
    if not -1 <= limit <= 1:
        raise ValueError(f"limit must be in [-1, 1], got {limit}.")
    return _p_value(lost, gained, n, confidence)(limit)


def within_limit(lost: int, gained: int, n: int, limit: float, confidence: float) -> bool:
    """True where the exact test shows a net loss below limit: p ≤ 1 − confidence."""
    _check(lost, gained, n, confidence)
    return _p_value(lost, gained, n, confidence)(limit, 1 - confidence) <= 1 - confidence


def net_loss_bound(lost: int, gained: int, n: int, confidence: float) -> float:
    """Upper confidence bound of the net loss: the smallest limit with p ≤ 1 − confidence, from above.

    One order of the outcomes serves all limits, so this is Buehler's bound (JASA 52, 1957, p. 482) but for gamma.

    Args:
        lost: items lost.
        gained: items gained.
        n: items in all.
        confidence: probability with which the bound holds, in [.5, 1).

    Returns:
        A share of the items, at least (lost − gained)/n. It rises with lost and falls with gained, to `RESOLUTION`.

    Raises:
        ValueError: counts that are no counts, a confidence outside its range.
    """
    _check(lost, gained, n, confidence)
    p_value, error = _p_value(lost, gained, n, confidence), 1 - confidence
    least = (lost - gained) / n
    low = high = score_bound(lost, gained, n, confidence)
    step = max(RESOLUTION, (high - least) / 16)
    while high < 1 and p_value(high, error) > error:
        low, high, step = high, min(1.0, high + step), 2 * step
    while low > least and p_value(low, error) <= error:
        low, high, step = max(least, low - step), low, 2 * step
    if high - low > RESOLUTION and p_value(high, error) <= error < p_value(low, error):
        low = float(optimize.brentq(lambda limit: p_value(limit, error) - error, low, high, xtol=RESOLUTION / 4))
    while low < high and p_value(low, error) > error:
        low = min(high, low + RESOLUTION / 2)
    return low


def _check(lost: int, gained: int, n: int, confidence: float) -> None:
    if min(lost, gained) < 0 or lost + gained > n or n < 1:
        raise ValueError(f"lost {lost} and gained {gained} do not fit into {n} items.")
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence must be in [0.5, 1), got {confidence}.")


def _p_value(lost: int, gained: int, n: int, confidence: float) -> Callable[..., float]:
    """`net_loss_p_value` as a function of the limit, which remembers its values.

    Its second argument is the level in question: where a few rates show p to be above that, no more of them are tried.
    """
    gamma = NUISANCE_SHARE * (1 - confidence)
    most = float(special.betaincinv(lost + 1, n - lost, 1 - gamma)) if lost < n else 1.0
    bound = score_bound(lost, gained, n, confidence)

    @cache
    def p_value(limit: float, level: float = 1.0) -> float:
        low, high = max(0.0, limit), min(most, (1 + limit) / 2)
        if lost == n:
            return 1.0  # no bound is smaller than that of this outcome
        if high < low:
            return gamma  # so few lost: a loss of the limit is not among the rates left
        boundary = most_lost(bound, n, confidence, _range(n, np.array([high - limit]))[1])

        def tails(rates: Floats) -> Floats:
            parts = [rates[start : start + AT_ONCE] for start in range(0, len(rates), AT_ONCE)]
            return np.concatenate([_tails(boundary, n, part, np.maximum(part - limit, 0.0)) for part in parts])

        def log_size(rates: NDArray[np.complex128]) -> Floats:
            """Of the tail at complex rates: its terms sum to (|p_L| + |p_G| + |1 − p_L − p_G|)ⁿ at most in size."""
            size: Floats = n * np.log(np.abs(rates) + np.abs(rates - limit) + np.abs(1 - 2 * rates + limit))
            return size

        rough = gamma + float(tails(np.linspace(low, high, 3)).max())
        return min(1.0, rough if rough > level else gamma + ceiling(tails, log_size, low, high) + ROUNDING)

    return p_value


def _tails(boundary: Floats, n: int, lost_rate: Floats, gained_rate: Floats) -> Floats:
    """P(L ≤ b(G)) for rates (k,): Σ over g of Binomial(g; n, p_G) · P(Binomial(n − g, p_L/(1 − p_G)) ≤ b(g)).

    g within 6 standard deviations and 20 of its mean; what is left out is added, so that no tail is too small.
    """
    first, last = _range(n, gained_rate)
    most = boundary[first : last + 1]
    g = first + np.arange(len(most), dtype=np.float64)
    log_ways = special.gammaln(n + 1) - special.gammaln(g + 1) - special.gammaln(n - g + 1)
    weights = np.exp(log_ways + special.xlogy(g, gained_rate[:, None]) + special.xlog1py(n - g, -gained_rate[:, None]))
    unchanged = np.clip((1 - lost_rate - gained_rate) / np.maximum(1 - gained_rate, 1e-300), 0.0, 1.0)
    inside = (most >= 0) & (most < n - g)
    within = np.where(most < 0, 0.0, 1.0) * np.ones_like(weights)
    within[:, inside] = special.betainc((n - g - most)[inside], most[inside] + 1, unchanged[:, None])
    left_out = np.maximum(0.0, 1 - weights.sum(axis=1))
    tails: Floats = np.minimum(1.0, (weights * within).sum(axis=1) + left_out)
    return tails


def _range(n: int, rates: Floats) -> tuple[int, int]:
    """The first and the last number gained that count at these rates."""
    reach = 6 * np.sqrt(n * rates * (1 - rates)) + 20
    return int(max(0, (n * rates - reach).min())), int(min(n, np.ceil((n * rates + reach).max())))
