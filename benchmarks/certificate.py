"""What the exact test of a net loss says and how many items it takes, beside the order by the net count used before.

    python benchmarks/certificate.py                        # the tables of docs/concepts/budget.md; half a minute
    python benchmarks/certificate.py --compare 61 80 115    # outcomes that one order certifies and the other does not
    python benchmarks/certificate.py --verdict              # the verdict's interval beside the exact bound
    python benchmarks/certificate.py --two-looks            # what stopping halfway would save; some minutes

The order by L − G spent a tenth of the error on the rate of changes d = p_L + p_G. It is written down here once more,
its largest tail taken from a grid, which can only make it look better than it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from scipy import special, stats

from retain.stats.bootstrap import right_wrong_interval
from retain.stats.net_loss import net_loss_bound, net_loss_p_value, within_limit
from retain.stats.planning import fewest_items_to_certify, items_to_certify

LIMITS = (0.01, 0.02, 0.05, 0.1)
SIZES = (61, 80, 115)
OUTCOMES = ((0, 0), (1, 1), (1, 0), (2, 2))
CHURN = ((0, 0), (1, 0), (1, 1), (5, 5), (10, 8), (20, 10))
CONFIDENCES = (0.8, 0.9, 0.95, 0.99)
GRID = 200
"""Rates of changes at which the tail of the order by L − G is computed."""

MINUTE = 1e-9
"""Chances that are left out."""

Certifies = Callable[[int, int], bool]


def net_count_p_value(lost: int, gained: int, n: int, limit: float, confidence: float = 0.95) -> float:
    """The p-value by the order of L − G, and of Berger and Boos over d, on a grid."""
    gamma, changed, gains = 0.1 * (1 - confidence), lost + gained, np.arange(n + 1)
    most = float(special.betaincinv(changed + 1, n - changed, 1 - gamma)) if changed < n else 1.0
    if most < limit:
        return gamma
    rates = np.linspace(limit, most, GRID)
    p_lost, p_gained = (rates + limit) / 2, (rates - limit) / 2
    gains = gains[: int(n * p_gained[-1] + 8 * np.sqrt(n * p_gained[-1]) + 20)]
    within = np.clip(lost - gained + gains, -1, n - gains)[:, None]
    rest = stats.binom.cdf(within, (n - gains)[:, None], np.minimum(1, p_lost / (1 - p_gained)))
    tails = (stats.binom.pmf(gains[:, None], n, p_gained) * rest).sum(axis=0)
    return min(1.0, gamma + float(tails.max()))


def most_lost(certifies: Certifies, n: int, limit: float, gained: int, most: int) -> int:
    """The most items lost beside so many gained that are certified, −1 for none, by halving up to most."""
    low, high = -1, min(n - gained, most, gained + int(n * limit) + 1) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if certifies(middle, gained) else (low, middle)
    return low


def power(n: int, limit: float, lost_rate: float, gained_rate: float) -> float:
    """The probability that n items certify the limit at 95 % where these are the rates."""
    gains = range(int(n * gained_rate + 8 * np.sqrt(n * gained_rate) + 8))
    kept: Certifies = partial(_kept, n, limit, 0.95)
    most = np.array([most_lost(kept, n, limit, gained, n) for gained in gains])
    weights = stats.binom.pmf(gains, n, gained_rate)
    return float(weights @ stats.binom.cdf(most, n - np.array(gains), lost_rate / (1 - gained_rate)))


def two_looks(n: int, limit: float, lost_rate: float, gained_rate: float) -> tuple[float, float]:
    """The probability that a limit is certified after half of n items or after all, and the items asked on average.

    Each look has half of the error of 5 %, so both together are as safe as one look (Bonferroni).
    """
    first, second = n // 2, n - n // 2
    seen = int(n * gained_rate + 8 * np.sqrt(n * gained_rate) + 8)
    halfway, kept = (partial(_kept, size, limit, 0.975) for size in (first, n))
    most_first = [most_lost(halfway, first, limit, gained, first) for gained in range(seen)]
    most = [most_lost(kept, n, limit, gained, n) for gained in range(2 * seen)]
    early = late = 0.0
    for gained in range(seen):
        chance = stats.binom.pmf(gained, first, gained_rate)
        rest = lost_rate / (1 - gained_rate)
        early += chance * stats.binom.cdf(most_first[gained], first - gained, rest)
        for lost in range(most_first[gained] + 1, first - gained + 1):
            here = chance * stats.binom.pmf(lost, first - gained, rest)
            if lost > most_first[gained] + seen or here < MINUTE:
                continue
            more = np.arange(seen)
            room = np.array([most[gained + g] - lost for g in more])
            late += here * float(
                stats.binom.pmf(more, second, gained_rate) @ stats.binom.cdf(room, second - more, rest)
            )
    return early + late, first + (1 - early) * second


def _kept(n: int, limit: float, confidence: float, lost: int, gained: int) -> bool:
    return within_limit(lost, gained, n, limit, confidence)


def _kept_by_net_count(n: int, limit: float, confidence: float, lost: int, gained: int) -> bool:
    return net_count_p_value(lost, gained, n, limit, confidence) <= 1 - confidence


def _points(limit: float) -> str:
    return f"{100 * limit:g} point{'s' * (limit != 0.01)}"


def _p_values() -> Iterator[str]:
    yield "| limit 5 points, n | " + " | ".join(f"{lost} lost, {gained} gained" for lost, gained in OUTCOMES) + " |"
    yield "|---" * (1 + len(OUTCOMES)) + "|"
    for n in SIZES:
        both = [(net_loss_p_value(*pair, n, 0.05), net_count_p_value(*pair, n, 0.05)) for pair in OUTCOMES]
        yield f"| {n} | " + " | ".join(f"{now:.3f} ({before:.3f})" for now, before in both) + " |"


def _items() -> Iterator[str]:
    yield "| limit | nothing lost or gained | .5 % lost, .5 % gained | 1 % lost, 1 % gained |"
    yield "|---|---|---|---|"
    for limit in LIMITS:
        fewest = fewest_items_to_certify(limit, 0.95)
        likely = [items_to_certify(1, 1, n, limit, 0.95) for n in (200, 100)]
        yield f"| {_points(limit)} | {fewest:,} | " + " | ".join(f"{size or 0:,}" for size in likely) + " |"


def _verdicts() -> Iterator[str]:
    """The largest loss that the verdict's 95 % interval leaves, and the exact bound of the same level, in points."""
    yield "| n | " + " | ".join(f"{lost} lost, {gained} gained" for lost, gained in CHURN) + " |"
    yield "|---" * (1 + len(CHURN)) + "|"
    for n in (80, 203, 305):
        found = []
        for lost, gained in CHURN:
            interval = right_wrong_interval(lost, gained, n, np.random.default_rng(0))
            found.append(f"{-100 * interval[0]:.2f} ({100 * net_loss_bound(lost, gained, n, 0.975):.2f})")
        yield f"| {n} | " + " | ".join(found) + " |"


def _powers() -> Iterator[str]:
    yield "| limit | rates | items | certified | with twice the items |"
    yield "|---|---|---|---|---|"
    for limit in LIMITS:
        for n, rate in ((200, 0.005), (100, 0.01)):
            size = items_to_certify(1, 1, n, limit, 0.95) or 0
            once, twice = (power(times * size, limit, rate, rate) for times in (1, 2))
            yield f"| {_points(limit)} | {100 * rate:g} % each | {size:,} | {once:.2f} | {twice:.2f} |"


def _sequential() -> Iterator[str]:
    """What two looks save at the power of one."""
    yield "| limit | true rates | one look: items | certified | two looks: items at most | on average | saved |"
    yield "|---|---|---|---|---|---|---|"
    for limit in LIMITS[1:]:
        for n, rate in ((200, 0.005), (100, 0.01)):
            for times in (1, 2):
                size = times * (items_to_certify(1, 1, n, limit, 0.95) or 0)
                once = power(size, limit, rate, rate)
                for at_most in range(size, 2 * size, max(2, size // 25)):
                    found, average = two_looks(at_most, limit, rate, rate)
                    if found >= once:
                        break
                yield (
                    f"| {_points(limit)} | {100 * rate:g} % each | {size:,} | {once:.2f} | {at_most:,} "
                    f"| {average:,.0f} | {100 * (1 - average / size):.0f} % |"
                )


def compared(n: int, limit: float, confidence: float) -> tuple[int, list[tuple[int, int]]]:
    """Outcomes that only the order by the score certifies, and those that only the order by the net count does.

    Args:
        n: items.
        limit: of the net loss.
        confidence: of both tests.

    Returns:
        The number of the first and a list of the second, each (lost, gained), over all with up to n/2 items gained.
    """
    more, fewer = 0, []
    for gained in range(n // 2 + 1):
        tests = (partial(test, n, limit, confidence) for test in (_kept, _kept_by_net_count))
        now, before = (most_lost(test, n, limit, gained, n) for test in tests)
        more += max(0, now - before)
        fewer += [(lost, gained) for lost in range(now + 1, before + 1)]
    return more, fewer


def _differences(sizes: list[int]) -> Iterator[str]:
    yield "| n | limit | confidence | certified in addition | certified no longer |"
    yield "|---|---|---|---|---|"
    for n in sizes:
        for limit in LIMITS:
            for confidence in CONFIDENCES:
                more, fewer = compared(n, limit, confidence)
                yield f"| {n} | {_points(limit)} | {confidence:g} | {more} | {fewer or 0} |"


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", type=int, nargs="+", metavar="N", help="compare both orders over all outcomes")
    parser.add_argument("--verdict", action="store_true", help="the verdict's interval beside the exact bound")
    parser.add_argument("--two-looks", action="store_true", help="what stopping halfway would save")
    chosen = parser.parse_args(arguments)
    tables = [_differences(chosen.compare)] if chosen.compare else [_p_values(), _items(), _powers()]
    tables = [_verdicts()] if chosen.verdict else [_sequential()] if chosen.two_looks else tables
    for table in tables:
        for line in table:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
