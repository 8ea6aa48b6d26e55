"""Exact p-values and upper bounds of a loss, from a finite number of independent units.

Two tests of "the loss is at least the limit", neither of which relies on large numbers. `net_loss_p_value` is for
single items that are right or wrong, `mean_p_value` for any loss in a known range (groups of items, grades, clipped
nats). All is float64; a loss is base minus tuned, so positive means lost.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

NUISANCE_SHARE = 0.1
"""Share of the error of a bound that is spent on the unknown rate of changes (Berger and Boos's gamma)."""

GAMMA = 0.005
"""That part at a confidence of 95 %."""

FIRST_CUTS = 8
"""Stretches into which the rates of changes are cut at first; those that may hold the largest tail are halved again."""

RESOLUTION = 1e-5
"""Bounds are found to this share of the range of losses, and given from above."""

BETS = special.expit(np.linspace(-5.5, 4.5, 41))
"""c of the betting test, from .004 to .989: shares of what can be staked without ever losing all."""


@lru_cache(maxsize=16384)
def net_loss_p_value(lost: int, gained: int, n: int, limit: float, gamma: float = GAMMA) -> float:
    """Exact p-value of H0: P(base right, tuned wrong) − P(base wrong, tuned right) ≥ limit, for n independent items.

    With rates p_L, p_G the numbers (L, G) are trinomial; d = p_L + p_G is the unknown rate of changes. Few items lost
    net are evidence against H0, so the tail is P(L − G ≤ lost − gained), and the p-value of Berger and Boos (JASA 89,
    1994, p. 1012) is

        p = gamma + sup {tail(p_L, p_G) : p_L − p_G ≥ limit, d ≤ u},

    u being the Clopper-Pearson upper bound of d, missed with probability at most gamma. Under H0 then P(p ≤ a) ≤ a.

    The tail falls when p_L rises or p_G falls with the other held (items that did not change become lost, or gained
    ones become unchanged: the same draws, a larger L − G). So of all pairs with one d the one at p_L − p_G = limit is
    largest, and d ∈ [|limit|, u] is all there is to search. `_largest_tail` does that soundly.

    Args:
        lost: items that the base has right and the tuned model wrong.
        gained: items that the tuned model has right and the base wrong.
        n: items in all.
        limit: net loss as a share of the items, in [−1, 1].
        gamma: probability spent on d, in (0, 1); to be fixed before the data are seen.

    Returns:
        p in [gamma, 1]. It falls as limit rises and rises with lost, up to the precision of `_largest_tail`. 1 for
        limit = 0 unless more was gained than lost: that nothing is lost cannot be shown by losing nothing.

    Raises:
        ValueError: counts that are no counts, limit or gamma outside their ranges.
    """
    if min(lost, gained) < 0 or lost + gained > n or n < 1:
        raise ValueError(f"lost {lost} and gained {gained} do not fit into {n} items.")
    if not (-1 <= limit <= 1 and 0 < gamma < 1):
        raise ValueError(f"limit must be in [-1, 1] and gamma in (0, 1), got {limit} and {gamma}.")
    return _p_value(lost, gained, n, limit, gamma, 0.0)


def _p_value(lost: int, gained: int, n: int, limit: float, gamma: float, level: float) -> float:
    """`net_loss_p_value`, or only as near to it as is needed to tell whether it is above level, where level > 0."""
    changed, net = lost + gained, lost - gained
    most = float(special.betaincinv(changed + 1, n - changed, 1 - gamma)) if changed < n else 1.0
    if most < limit:
        return gamma  # so few changes: a loss of the limit is not among the rates left
    if most < -limit:  # gains only are left, the more the better for the tail
        return min(1.0, gamma + float(_tails(net, n, np.zeros(1), np.array([most]))[0]))
    return min(1.0, gamma + _largest_tail(net, n, limit, most, gamma / 50, level - gamma))


def _largest_tail(net: int, n: int, limit: float, most: float, precision: float, level: float) -> float:
    """A ceiling of T(d) = P(L − G ≤ net) over d ∈ [|limit|, most] with p_L − p_G = limit, close to the largest value.

    Two ceilings hold on a stretch [d₁, d₂], and the lower counts. By the monotonicity above no T is larger than
    the tail at p_L = (d₁ + limit)/2, p_G = (d₂ − limit)/2. And with S the difference of n − 1 items,
    T' = (n/2)(P(S = net + 1) − P(S = net)). By the inversion of the characteristic function, whose size is at most
    exp(−a(1 − cos t)), a = (n − 1)d(1 − d), that is at most

        |T'| ≤ (n/2) · (1/2π) ∫ 2|sin(t/2)| exp(−a(1 − cos t)) dt = (2n/π) · F(x)/x,   x = √(2a), F Dawson's integral,

    about 1/(2πd). So on a stretch of width w no T is above the one in the middle by more than w/2 times that, taken at
    the end with the smaller a. Stretches are halved until no ceiling is above a T that is attained by more than
    max(precision, T²/25); the largest ceiling is returned, which is never too small. With a level > 0 the search ends
    as soon as it is known on which side of the level the largest T is.
    """
    edges = np.linspace(abs(limit), most, FIRST_CUTS + 1)
    low, high = edges[:-1], edges[1:]
    ends = edges[[0, -1]]
    attained = float(_tails(net, n, (ends + limit) / 2, (ends - limit) / 2).max())
    ceiling = attained
    while len(low) and not 0 < level < attained:
        middle = (low + high) / 2
        found = _tails(net, n, (middle + limit) / 2, (middle - limit) / 2)
        x = np.sqrt(2 * (n - 1) * np.minimum(low * (1 - low), high * (1 - high))) + 1e-9
        by_slope = found + (high - low) / 2 * (2 * n / np.pi) * special.dawsn(x) / x
        tops = np.minimum(by_slope, _tails(net, n, (low + limit) / 2, (high - limit) / 2))
        attained = max(attained, float(found.max()))
        open_ = tops > max(level, attained + max(precision, attained**2 / 25))
        ceiling = max(ceiling, float(tops[~open_].max(initial=0.0)))
        low, middle, high = low[open_], middle[open_], high[open_]
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    return ceiling


def _tails(net: int, n: int, lost_rate: Floats, gained_rate: Floats) -> Floats:
    """P(L − G ≤ net), trinomial, for rates (k,): Σ over the changed D of Binomial(D; n, d) · P(L ≤ (D + net)/2 | D).

    D within 6 standard deviations and 20 of its mean; what is left out is added, so that no tail is too small.
    """
    d = lost_rate + gained_rate
    share = np.divide(lost_rate, d, out=np.full_like(d, 0.5), where=d > 0)
    reach = 6 * np.sqrt(n * d * (1 - d)) + 20
    first, last = int(max(0, (n * d - reach).min())), int(min(n, (n * d + reach).max()))
    D = np.arange(first, last + 1, dtype=np.float64)
    log_ways = special.gammaln(n + 1) - special.gammaln(D + 1) - special.gammaln(n - D + 1)
    weights = np.exp(log_ways + special.xlogy(D, d[:, None]) + special.xlog1py(n - D, -d[:, None]))
    most_lost = np.floor((D + net) / 2)
    inside = (most_lost >= 0) & (most_lost < D)
    within = np.where(most_lost < 0, 0.0, 1.0) * np.ones_like(weights)
    within[:, inside] = special.bdtr(most_lost[inside], D[inside].astype(np.int64), share[:, None])
    left_out = np.maximum(0.0, 1 - weights.sum(axis=1))
    tails: Floats = np.minimum(1.0, (weights * within).sum(axis=1) + left_out)
    return tails


def net_loss_bound(lost: int, gained: int, n: int, confidence: float) -> float:
    """Upper confidence bound of the net loss, in [−1, 1]: the smallest limit with p ≤ 1 − confidence.

    The set of rates that H0 names shrinks as limit rises, so p falls and halving finds the place. gamma is
    `NUISANCE_SHARE` of 1 − confidence.

    Args:
        lost: items lost.
        gained: items gained.
        n: items in all.
        confidence: probability with which the bound holds, in (0, 1).

    Returns:
        A share of the items, at least (lost − gained)/n.
    """
    return _smallest(lambda limit: within_limit(lost, gained, n, limit, confidence), (lost - gained) / n, 1.0)


def within_limit(lost: int, gained: int, n: int, limit: float, confidence: float) -> bool:
    """True where the exact test shows a net loss below limit: p ≤ 1 − confidence, with no more work than that takes."""
    error = 1 - confidence
    return _p_value(lost, gained, n, limit, NUISANCE_SHARE * error, error) <= error


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
    needs 11,000 units for 95 %, this test 399, the exact one 342 (recomputed by tests/unit/stats/test_bounds.py).

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
    """The smallest limit in (low, high] that is shown, from above; high if none is."""
    width = RESOLUTION * max(high - low, 1e-300)
    while high - low > width:
        middle = (low + high) / 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high
