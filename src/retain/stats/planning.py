"""How many control items it takes: to settle a limit if rates stay as observed, or at the very least."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from retain.stats.bounds import (
    BETS,
    NUISANCE_SHARE,
    Floats,
    log_capital,
    p_of_capital,
    within_limit,
)

MOST_ITEMS = 1_000_000
"""More items than this are not planned for."""

EXACT_UP_TO = 20_000
"""Above so many items the plan for right-or-wrong items is made by the normal approximation."""


def items_needed(lost: int, gained: int, n: int, limit: float, confidence: float) -> int | None:
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

    return _first(shown)


def fewest_items(limit: float, confidence: float) -> int | None:
    """Right-or-wrong items needed even if none at all changed; None for a limit of 0: no number of items shows that."""
    return items_needed(0, 0, 1, limit, confidence)


def units_needed(losses: Floats, limit: float, confidence: float, smallest: float, largest: float) -> int | None:
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
    return _first(lambda size: p_of_capital(size * each) <= 1 - confidence)


def fewest_units(limit: float, confidence: float, largest: float) -> int | None:
    """Units needed even if every one lost exactly nothing; None for a limit of 0."""
    if limit <= 0:
        return None
    each = np.log1p(BETS * limit / (largest - limit))
    return _first(lambda size: p_of_capital(size * each) <= 1 - confidence)


def _first(holds: Callable[[int], bool]) -> int | None:
    """The first size at which `holds`, by doubling and halving; None above `MOST_ITEMS`."""
    low, high = 0, 1
    while not holds(high):
        if high >= MOST_ITEMS:
            return None
        low, high = high, min(2 * high, MOST_ITEMS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
