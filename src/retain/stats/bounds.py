"""p-values and upper bounds of a mean loss in a known range, from a finite number of independent units, by betting.

For groups of items, grades, clipped nats; single items that are right or wrong have the exact test of `net_loss`.
Neither relies on large numbers. All is float64; a loss is base minus tuned, so positive means lost.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

RESOLUTION = 1e-5
"""Bounds are found to this share of the range of losses, and given from above."""

BETS = special.expit(np.linspace(-4.5, 5, 39))
"""c of the betting test, from .011 to .993: shares of what can be staked without ever losing all."""


def mean_p_value(losses: Floats, limit: float, smallest: float, largest: float) -> float:
    """p-value of H0: mean loss ≥ limit, for independent units with losses in [smallest, largest].

    Someone bets, unit after unit, a share c of what can be lost on "below limit": the capital

        K_c = ∏ (1 + c · (limit − xᵢ)/(largest − limit))

    is never negative and E K_c ≤ 1 under H0, also for the mean over the fixed c of `BETS`; by Markov's inequality
    p = min(1, 1/mean_c K_c). (Betting: Waudby-Smith and Ramdas, JRSS B 86, 2024, arXiv 2010.09686, §4; we hold each bet
    fixed and mix, so that the order of the units is of no matter.) Units need not be alike: if they are independent and
    their expectations are limit or more on average, ∏ (1 + λ(limit − E xᵢ)) ≤ 1 by the inequality of the means.

    Not Hoeffding-Bentkus, which Learn then Test proposes: it knows the range only, and paired differences are mostly 0,
    so that their variance is small. At a limit of 2 points, with .5 % of the losses 1, .5 % −1 and all others 0, it
    needs 11,000 units for 95 %, this test 394, the exact one 255 (recomputed by tests/unit/stats/test_bounds.py).

    Args:
        losses: (n,) one number for each independent unit.
        limit: the mean loss in question, in [smallest, largest).
        smallest: no loss can be smaller.
        largest: no loss can be larger.

    Returns:
        p in (0, 1]; it falls as limit rises, since each factor does: its derivative is c(largest − x)/(largest −
        limit)².

    Raises:
        ValueError: no losses, losses outside the range, or a limit outside it.
    """
    return p_of_capital(log_capital(_checked(losses, smallest, largest), limit, smallest, largest))


def _checked(losses: Floats, smallest: float, largest: float) -> Floats:
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not (np.isfinite(values).all() and smallest < largest):
        raise ValueError(
            f"a vector of finite losses and a range expected, got {values.shape}, {smallest} to {largest}."
        )
    if values.min() < smallest or values.max() > largest:
        raise ValueError(f"losses from {values.min()} to {values.max()} leave the range {smallest} to {largest}.")
    return values


def log_capital(losses: Floats, limit: float, smallest: float, largest: float) -> Floats:
    """Log K_c for each bet, (bets,)."""
    if not smallest <= limit < largest:
        raise ValueError(f"limit {limit} must be at least {smallest} and below {largest}.")
    values, counts = np.unique(losses, return_counts=True)  # sorted: one result in whatever order the units come
    gains = (limit - values) / (largest - limit)
    logs: Floats = np.log1p(BETS[:, None] * gains) @ counts.astype(np.float64)
    return logs


def p_of_capital(logs: Floats) -> float:
    """min(1, 1/mean K_c) of the logs of K_c, (bets,)."""
    log_mean = float(special.logsumexp(logs)) - np.log(len(BETS))
    return float(np.exp(-max(0.0, log_mean)))


def mean_bound(losses: Floats, confidence: float, smallest: float, largest: float) -> float:
    """Upper confidence bound of the mean loss: the smallest limit with `mean_p_value` ≤ 1 − confidence.

    Args:
        losses: (n,) one number for each independent unit.
        confidence: probability with which the bound holds, in (0, 1).
        smallest: no loss can be smaller.
        largest: no loss can be larger.

    Returns:
        A number from the mean of the losses to largest, in their unit.

    Raises:
        ValueError: no losses, or losses outside the range.
    """
    values = _checked(losses, smallest, largest)

    def shown(limit: float) -> bool:
        return limit >= largest or p_of_capital(log_capital(values, limit, smallest, largest)) <= 1 - confidence

    return _smallest(shown, min(largest, max(smallest, float(values.mean()))), largest)


def _smallest(shown: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest limit in (low, high] that is shown, from above; high if none is.

    Args:
        shown: whether a limit is; if one is, all larger ones are.
        low: below all that can be shown.
        high: the largest limit.

    Returns:
        A limit that is shown, or high, above the smallest by `RESOLUTION` of the range at most.
    """
    width = RESOLUTION * max(high - low, 1e-300)
    while high - low > width:
        middle = (low + high) / 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high
