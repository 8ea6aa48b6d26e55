"""Power and sample size: the probability that a suite shows a loss, and how many items settle or certify one.

A suite is *settled* where its verdict is lost or kept (`items_to_settle`, `units_to_settle`); a limit is *certified*
where the tests of `retain.stats.bounds` show the loss to be below it (`items_to_certify`, `units_to_certify`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from retain.records.base import Interval
from retain.stats.bootstrap import FEW_CHANGED, few_changes_interval
from retain.stats.bounds import BETS, Floats, log_capital, p_of_capital
from retain.stats.mcnemar import SIGNIFICANCE
from retain.stats.net_loss import NUISANCE_SHARE, within_limit

SURE_TO_SHOW = 0.95
"""A suite can show loss if a chance-level model would be called lost with at least this probability."""

MOST_ITEMS = 1_000_000
"""More items than this are not planned for."""

EXACT_UP_TO = 20_000
"""Above so many items the plan that certifies right-or-wrong items is made by the normal approximation."""

PSEUDO = 0.5
"""Added to lost and to gained when planning, with one item to n: nothing seen is not nothing there (Jeffreys)."""

BLOCK = 256
"""Critical values are found for so many numbers of gained items at once, and remembered."""

HALF_WIDTH = float(special.ndtri(0.975))


def chance_level_power(base_right: int, n: int, chance: float, alpha: float = SIGNIFICANCE) -> float:
    """Probability that a chance-level model would be called lost by the exact McNemar test at level alpha.

    A chance-level model guesses: each item is right with probability c, whatever the base answered. Of the k items that
    the base has right lost ~ Binomial(k, 1 − c), of the others gained ~ Binomial(n − k, c), and the power is
    Σ_g P(gained = g) · P(lost ≥ b(g)), b(g) being the fewest lost items that the test calls lost beside g gained. Exact
    for every n, but for numbers gained that are over 8 standard deviations and 40 items from their mean.

    Where items come in groups, give effective numbers: n = `effective_number` of the group sizes, rounded down, and k
    the same share of it. That takes items of one group to be right or wrong together, the worst case.

    Args:
        base_right: k, items that the base has right.
        n: items.
        chance: c, probability of guessing right; the mean where items differ.
        alpha: level of the test: in a report of m tests .05/m, the least that Holm's rule grants.
    """
    wrong = n - base_right
    reach = 8 * math.sqrt(wrong * chance * (1 - chance)) + 40
    first, last = max(0, int(wrong * chance - reach)), min(wrong, int(wrong * chance + reach))
    gained = np.arange(first, last + 1)
    start, stop = first // BLOCK * BLOCK, (last // BLOCK + 1) * BLOCK
    needed = np.minimum(_fewest_lost(alpha, start, stop)[gained - start], base_right + 1)
    weights = np.diff(special.bdtr(gained, wrong, chance), prepend=0.0)  # the first holds the little left out below it
    called = weights @ special.bdtrc(needed - 1, base_right, 1 - chance)
    return min(1.0, float(called))


@lru_cache(maxsize=128)
def _fewest_lost(alpha: float, start: int, stop: int) -> NDArray[np.int64]:
    """The fewest lost items b for which the exact two-sided p is below alpha, beside g = start … stop − 1 gained.

    p = 2 · P(X ≤ g), X ~ Binomial(b + g, ½), which is 2 · I_½(b, g + 1) and falls as b rises: found by halving, up to
    g + 2z√(2g) + 2z² + 40 with the normal quantile z of alpha/2, which is always enough.
    """
    gained = np.arange(start, stop)
    z = -float(special.ndtri(alpha / 2))
    low, high = gained, (gained + 2 * z * np.sqrt(2 * gained) + 2 * z**2 + 40).astype(np.int64)
    while (high - low > 1).any():
        middle = (low + high) // 2
        enough = _mcnemar(middle, gained) < alpha
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def _mcnemar(lost: Any, gained: Any) -> Any:
    """The exact two-sided p-value where lost > gained; planned counts may be fractions."""
    return 2 * special.betainc(lost, np.asarray(gained) + 1.0, 0.5)


def has_power(
    base_right: int, n: int, chance: float, alpha: float = SIGNIFICANCE, *, units: float | None = None
) -> bool:
    """True where a chance-level model would be called lost with probability `SURE_TO_SHOW` or more.

    See `chance_level_power`.

    Args:
        base_right: items that the base has right.
        n: items.
        chance: probability of guessing right.
        alpha: level of the test.
        units: effective number of independent items where they come in groups; None: every item stands alone.
    """
    units = n if units is None else units
    worth, number = (math.floor(value + 1e-9) for value in (base_right * units / n, units))
    return chance_level_power(worth, number, chance, alpha) >= SURE_TO_SHOW


def items_to_settle(
    lost: int,
    gained: int,
    n: int,
    margin: float,
    alpha: float = SIGNIFICANCE,
    *,
    base_right: int,
    chance: float = 0.0,
    tests: int = 1,
    units: float | None = None,
) -> int | None:
    """The smallest number of items in all at which a suite would be settled if it went on as it began; None: too many.

    Settled is *lost* (exact p · tests < alpha, more lost than gained) or *kept* (a chance-level model would show, and
    the lower end of the interval is above −margin). The counts planned with are N · (lost + ½)/(n + 1) and
    N · (gained + ½)/(n + 1), as fractions. The lower end is that of `few_changes_interval`, and from
    `bootstrap.FEW_CHANGED` changed items on δ − 1.96 √((l + g − δ²)/N) with the shares l and g and δ = g − l. It is a
    plan: the suite is then settled if the shares stay as they are, or move the better way: about every other time.

    Args:
        lost: items lost.
        gained: items gained.
        n: items so far.
        margin: largest loss, as a share of the items, that counts as kept.
        alpha: level of the report.
        base_right: items so far that the base has right.
        chance: probability of guessing right.
        tests: tests in the report.
        units: effective number of independent items where they come in groups (new ones are taken to come likewise).

    Returns:
        A number above n, or None if it is above `MOST_ITEMS`.
    """
    units = n if units is None else units
    share = units / n
    loss, gain = ((count * share + PSEUDO) / (units + 1) for count in (lost, gained))

    def is_lost(size: int) -> bool:
        return loss > gain and float(_mcnemar(loss * size, gain * size)) * tests < alpha

    def is_safe(size: int) -> bool:
        return _planned_low(loss, gain, size) > -margin

    def shows(size: int) -> bool:
        return has_power(round(base_right / n * size), size, chance, alpha / tests)

    more = math.floor(units) + 1
    safe = smallest_size(is_safe, more)
    ways = [smallest_size(is_lost, more), None if safe is None else smallest_size(shows, safe)]
    return _as_items([way for way in ways if way is not None], share, n)


def units_to_settle(
    loss: float,
    loss_interval: Interval,
    n: int,
    margin: float,
    alpha: float = SIGNIFICANCE,
    *,
    tests: int = 1,
    able: float = 1.0,
) -> int | None:
    """The same as `items_to_settle` for a metric with degrees, whose interval is taken to shrink with √n.

    Args:
        loss: mean loss, positive when worse.
        loss_interval: of the loss, on n units.
        n: items so far, or windows of text.
        margin: largest loss that counts as kept.
        alpha: level of the report.
        tests: tests in the report.
        able: independent units that a chance-level model would lower, as a share of n, > 0.

    Returns:
        A number above n, or None if it is above `MOST_ITEMS`.
    """
    deviation = (loss_interval[1] - loss) * math.sqrt(n)
    strict = -float(special.ndtri(alpha / tests / 2)) / HALF_WIDTH
    fewest = max(n + 1, math.ceil(fewest_units(alpha / tests) / able))
    room = [(margin - loss, 1.0)] if loss < margin else []
    lost = [(loss, strict)] if loss > 0 else []
    sizes = [(factor * deviation / distance) ** 2 for distance, factor in room + lost]
    return _as_items([max(fewest, math.floor(size) + 1) for size in sizes if size < MOST_ITEMS], 1.0, n)


def fewest_units(alpha: float) -> int:
    """The fewest units of which the sign-flip test could call a loss of all significant, least m with 2^{1−m} < α."""
    return math.floor(1 - math.log2(alpha)) + 1


def _planned_low(loss: float, gain: float, size: int) -> float:
    if (loss + gain) * size < FEW_CHANGED:
        return few_changes_interval(loss * size, gain * size, size)[0]
    return gain - loss - HALF_WIDTH * math.sqrt((loss + gain - (gain - loss) ** 2) / size)


def _as_items(units: list[int], share: float, n: int) -> int | None:
    items = max(n + 1, math.ceil(min(units) / share)) if units else MOST_ITEMS + 1
    return items if items <= MOST_ITEMS else None


def items_to_certify(lost: int, gained: int, n: int, limit: float, confidence: float) -> int | None:
    """Items in all at which the net loss would be shown to be below limit if rates stayed as observed.

    Planned with ⌈N · lost/n⌉ lost and ⌊N · gained/n⌋ gained by the exact test, found by doubling and halving, so right
    up to the test's saw-tooth; above `EXACT_UP_TO` items z²(d − limit²)/(limit − observed)² instead. It is a plan: with
    so many items the limit is shown in half of the cases or somewhat more, if the true rates are the observed ones.

    Args:
        lost: items lost so far.
        gained: items gained so far.
        n: items so far.
        limit: net loss, as a share of the items.
        confidence: of the bound, in (0, 1).

    Returns:
        A number of items; None if the observed loss is not below limit, or it would take over `MOST_ITEMS`.
    """
    observed, changes = (lost - gained) / n, (lost + gained) / n
    if observed >= limit:
        return None
    z = float(special.ndtri(1 - (1 - NUISANCE_SHARE) * (1 - confidence)))
    rough = z**2 * max(changes - limit**2, 0.0) / (limit - observed) ** 2
    if rough > EXACT_UP_TO:
        return math.ceil(rough) if rough <= MOST_ITEMS else None

    def shown(size: int) -> bool:
        lost_then = min(size, math.ceil(lost * size / n - 1e-9))
        gained_then = min(size - lost_then, math.floor(gained * size / n + 1e-9))
        return within_limit(lost_then, gained_then, size, limit, confidence)

    return smallest_size(shown)


def fewest_items_to_certify(limit: float, confidence: float) -> int | None:
    """Right-or-wrong items needed even if none at all changed; None for a limit of 0: no number of items shows that."""
    return items_to_certify(0, 0, 1, limit, confidence)


def units_to_certify(losses: Floats, limit: float, confidence: float, smallest: float, largest: float) -> int | None:
    """Units in all at which the mean loss would be shown to be below limit if the losses stayed as observed.

    The log capital of each bet grows in proportion to the units.

    Args:
        losses: (n,) one for each unit so far, in [smallest, largest].
        limit: of the mean, in [smallest, largest).
        confidence: of the bound, in (0, 1).
        smallest: no loss can be smaller.
        largest: no loss can be larger.

    Returns:
        A number of units; None if the mean loss is not below limit, or it would take over `MOST_ITEMS`.
    """
    if float(np.mean(losses)) >= limit:
        return None
    each = log_capital(losses, limit, smallest, largest) / len(losses)
    return smallest_size(lambda size: p_of_capital(size * each) <= 1 - confidence)


def fewest_units_to_certify(limit: float, confidence: float, largest: float) -> int | None:
    """Units needed even if every one lost exactly nothing; None for a limit of 0."""
    if limit <= 0:
        return None
    each = np.log1p(BETS * limit / (largest - limit))
    return smallest_size(lambda size: p_of_capital(size * each) <= 1 - confidence)


def smallest_size(holds: Callable[[int], bool], start: int = 1) -> int | None:
    """The first size from start on at which `holds`, by doubling and halving: right up to the tests' saw-tooth.

    None above `MOST_ITEMS`.
    """
    low, high = start - 1, start
    while not holds(high):
        if high >= MOST_ITEMS:
            return None
        low, high = high, min(2 * high, MOST_ITEMS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
