"""Items that come in groups: five questions on one article, one image in forty corruptions. Groups are the units.

Items of one group stand and fall together, so a test or an interval that took them as independent would be too sure of
itself. Here a group is one unit with one net change, gained − lost; these changes are flipped and resampled.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from retain.errors import InputError
from retain.records.base import Interval
from retain.stats import bootstrap
from retain.stats.mcnemar import as_right, mcnemar_p

LARGEST_CONVOLUTION = 2 * 10**8
"""Additions (changed groups times lattice points) up to which `sign_flip_p` is exact; well under a second."""

ENUMERATED = 20
"""Changed units up to which `graded_p` goes through every combination of signs: 2^19 of them, by symmetry."""

DRAWS = 99_999
"""Random signs drawn at most for more units; the smallest p-value is then 1 in 100,000."""

ENOUGH_HITS = 200
"""Draws at least as extreme as what was seen after which drawing stops: p is then known to 7 % of itself."""

FEW_UNITS = 10
"""Of fewer units than this the bootstrap of a metric without bounds is too narrow: 94 % at ten, 50 % at two."""

TIE = 1e-9
"""Sums closer than this share of Σ|d| are equal: they differ by rounding only."""

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Groups = Sequence[Hashable] | None


def cluster_codes(groups: Groups, n: int) -> Counts:
    """The number of each item's group, (n,), groups counted from 0 as they first appear; None: every item its own.

    Raises:
        ValueError: there is not one group for each item.
    """
    if groups is None:
        return np.arange(n, dtype=np.int64)
    if len(groups) != n:
        raise ValueError(f"one group for each of {n} items expected, got {len(groups)}.")
    number = {group: k for k, group in enumerate(dict.fromkeys(groups))}
    return np.array([number[group] for group in groups], dtype=np.int64)


def named_groups(groups: Sequence[str | None]) -> list[str] | None:
    """The group of each item, an item without one standing alone; None where no group has two items."""
    named = [group for group in groups if group is not None]
    if len(set(named)) == len(named):
        return None
    return [f"item {index}" if group is None else f"group {group}" for index, group in enumerate(groups)]


def cluster_changes(
    base_right: NDArray[Any], tuned_right: NDArray[Any], groups: Groups = None
) -> tuple[Counts, Counts, Counts]:
    """Items lost, items gained and items in all of each group, (groups,) each, as the groups first appear.

    Args:
        base_right: (n,) booleans, whether the base is right.
        tuned_right: (n,) booleans, the same items.
        groups: (n,) what each item belongs to, for instance the name of its article; None: every item stands alone.

    Raises:
        ValueError: the three do not belong to the same items.
    """
    base, tuned = as_right(base_right), as_right(tuned_right)
    if base.shape != tuned.shape or base.ndim != 1:
        raise ValueError(f"two vectors of one length expected, got shapes {base.shape} and {tuned.shape}.")
    codes = cluster_codes(groups, len(base))
    sizes = np.bincount(codes)
    lost, gained = (np.bincount(codes[moved], minlength=len(sizes)) for moved in (base & ~tuned, ~base & tuned))
    return lost, gained, sizes


def effective_number(values: NDArray[Any]) -> float:
    """(Σ v)²/Σ v²: how many equal units carry as much as these unequal ones; 0 where all v are 0.

    Of group sizes it is the number of independent items that a suite is worth if items of one group always move
    together (Kish, Survey Sampling, 1965, §8.2 and §11.7: design effect at an intra-class correlation of 1).
    """
    v = np.abs(np.asarray(values, dtype=np.float64))
    square = float(v @ v)
    return float(v.sum() ** 2 / square) if square else 0.0


def sign_flip_p(changes: NDArray[Any]) -> float:
    """Exact two-sided test of the net changes d_c of groups: P(|Σ ±d_c| ≥ |Σ d_c|), all signs equally likely.

    If tuning neither costs nor gives, a group that changed by d could as well have changed by −d. The distribution of
    Σ ±|d_c| is the product of the polynomials (x^−|d_c| + x^|d_c|)/2, multiplied out in float64. With groups of one
    item this is the exact McNemar test. Beyond `LARGEST_CONVOLUTION` additions it is the normal approximation
    2Φ(−(|Σ d| − u)/√Σ d²) with u, the greatest common divisor of the |d_c|, as continuity correction.
    (Fisher, The Design of Experiments, 1935, §21; 1 where nothing changed.)

    Args:
        changes: (groups,) integers, gained − lost of each group.

    Raises:
        ValueError: the changes are not integers.
    """
    d = np.asarray(changes)
    if d.size and not np.issubdtype(d.dtype, np.integer):
        raise ValueError("net changes of groups are whole items; for other metrics use graded_p.")
    d = d[d != 0].astype(np.int64)
    if not d.size:
        return 1.0
    d //= np.gcd.reduce(np.abs(d))
    steps = np.abs(d)
    if (steps == 1).all():
        return mcnemar_p(int((d < 0).sum()), int((d > 0).sum()))
    total, net = int(steps.sum()), abs(int(d.sum()))
    if net == 0:
        return 1.0
    if len(steps) * total > LARGEST_CONVOLUTION:
        return min(1.0, float(2 * special.ndtr(-(net - 1) / math.sqrt(float(steps @ steps)))))
    return min(1.0, 2 * float(_half_sums(steps)[: (total - net) // 2 + 1].sum()))


def _half_sums(steps: Counts) -> Floats:
    """The distribution of Σ b_c steps_c with fair coins b_c, over 0 … Σ steps."""
    ones = int((steps == 1).sum())
    weights: Floats = stats.binom.pmf(np.arange(ones + 1), ones, 0.5)
    for step in steps[steps > 1]:
        longer = np.zeros(len(weights) + int(step))
        longer[: len(weights)] = weights / 2
        longer[step:] += weights / 2
        weights = longer
    return weights


def graded_p(changes: NDArray[Any], generator: np.random.Generator) -> float:
    """Two-sided sign-flip test of changes of any size: P(|Σ ±d| ≥ |Σ d|), all signs equally likely.

    Up to `ENUMERATED` changed units every combination of signs is counted. Beyond, signs are drawn, until `ENOUGH_HITS`
    draws were as extreme (p = hits / draws; Besag and Clifford, Biometrika 78, 1991, 301–304) or `DRAWS` are done
    (p = (hits + 1)/(draws + 1)); both are exact levels, not approximations. Sums equal up to rounding count as ties.
    What is tested is that each unit's change is as likely up as down by the same amount.

    Args:
        changes: (units,) the change of each independent unit: of a window of text its nats, of a group its items' sum.
        generator: source of the signs; equal seeds give equal p-values.

    Raises:
        ValueError: a change is not finite.
    """
    d = np.asarray(changes, dtype=np.float64)
    if not np.isfinite(d).all():
        raise ValueError("changes must be finite.")
    sizes = np.sort(np.abs(d[d != 0]))
    edge = abs(math.fsum(d)) - TIE * math.fsum(sizes)
    if not sizes.size or edge <= 0:
        return 1.0
    return _enumerated(sizes, edge) if len(sizes) <= ENUMERATED else _drawn(sizes, edge, generator)


def _enumerated(sizes: Floats, edge: float) -> float:
    sums = sizes[:1]
    for size in sizes[1:]:
        sums = np.concatenate([sums + size, sums - size])
    return float((np.abs(sums) >= edge).mean())


def _drawn(sizes: Floats, edge: float, generator: np.random.Generator) -> float:
    hits, done, total = 0, 0, sizes.sum()
    while done < DRAWS:
        step = min(1000, DRAWS - done)
        up = generator.integers(2, size=(step, len(sizes)), dtype=np.uint8)
        extreme = np.cumsum(np.abs(2 * (up @ sizes) - total) >= edge)
        if hits + extreme[-1] >= ENOUGH_HITS:
            return ENOUGH_HITS / (done + int(np.searchsorted(extreme, ENOUGH_HITS - hits)) + 1)
        hits, done = hits + int(extreme[-1]), done + step
    return (hits + 1) / (DRAWS + 1)


def cluster_interval(
    lost: NDArray[Any], gained: NDArray[Any], sizes: NDArray[Any], generator: np.random.Generator
) -> Interval:
    """95 % interval of the change over items, Σ (gained − lost)/Σ sizes, groups being resampled.

    Groups of one item: `right_wrong_interval`. Otherwise `bounded_interval`; a group can at most lose all its items.

    Args:
        lost: (groups,) items lost in each.
        gained: (groups,) items gained in each.
        sizes: (groups,) items in each, ≥ 1.
        generator: source of the resamples; equal seeds give equal intervals.

    Raises:
        InputError: there is no item.
    """
    lost, gained, sizes = (np.asarray(x, dtype=np.int64) for x in (lost, gained, sizes))
    if not sizes.size:
        raise InputError("an interval needs at least one item, but there is none: give more.")
    if (sizes == 1).all():
        return bootstrap.right_wrong_interval(int(lost.sum()), int(gained.sum()), len(sizes), generator)
    return bounded_interval(gained - lost, sizes, 1.0, generator)


def graded_interval(
    changes: NDArray[Any], weights: NDArray[Any], generator: np.random.Generator, largest: float | None = None
) -> Interval:
    """95 % interval of Σ changes / Σ weights for a metric with degrees, units being resampled.

    Args:
        changes: (units,) the change of each unit, summed over its items (or tokens).
        weights: (units,) items (or tokens) of each, > 0.
        generator: source of the resamples; equal seeds give equal intervals.
        largest: the largest change of one item that the metric allows, 1 for a share, 100 for chrF: the interval then
            stays honest where few units changed. None where there is no bound, as for nats: where no unit changed, the
            interval has no width. Of fewer than `FEW_UNITS` it is at least Student's, see `student_interval`.

    Raises:
        InputError: fewer than two units, and no largest change known.
    """
    if largest is None:
        low, high = bootstrap.ratio_intervals([changes], weights, generator)[0]
        if len(np.asarray(weights)) < FEW_UNITS:
            least, most = student_interval(changes, weights)
            return min(low, least), max(high, most)
        return low, high
    return bounded_interval(changes, weights, largest, generator)


def student_interval(changes: NDArray[Any], weights: NDArray[Any]) -> Interval:
    """Student's 95 % interval of Σ d / Σ w over n units: r ± t_{n−1, .975} · √(n/(n−1) · Σ (d − r·w)²) / Σ w.

    r is the ratio, and the root its standard error by linearisation (Cochran, Sampling Techniques, 1977, §2.11). A
    bootstrap cannot reach beyond the units seen: of two it says that the truth lies between them.
    """
    d, w = np.asarray(changes, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    n, ratio = len(d), float(d.sum() / w.sum())
    spread = math.sqrt(n / (n - 1) * float(((d - ratio * w) ** 2).sum())) / float(w.sum())
    reach = float(stats.t.ppf((1 + bootstrap.CONFIDENCE) / 2, n - 1)) * spread
    return ratio - reach, ratio + reach


def bounded_interval(
    changes: NDArray[Any], weights: NDArray[Any], largest: float, generator: np.random.Generator
) -> Interval:
    """Interval of Σ changes / Σ weights where |change| ≤ largest · weight in every unit.

    If the changes are worth at least `bootstrap.FEW_CHANGED` units (`effective_number`), the paired bootstrap, widened
    for as many. If not, a rule that allows for what was not seen. To the units seen one more is added, as heavy as the
    heaviest and as bad (for the upper end: as good) as can be; all weights w of the units are drawn from the flat
    Dirichlet distribution; the ends are the 2.5 % and 97.5 % points of Σ w·change / Σ w·weight. Where equal groups are
    lost whole and none is gained, the lower end is the exact Clopper–Pearson limit on groups: with none of C changed
    the interval is ±(1 − .025^{1/C}). The added unit is there whatever was seen, so it is never narrower than what C
    groups allow. (Gaffke's bound: Gaffke, Math. Methods Statist. 14, 2005; Learned-Miller and Thomas, arXiv:1905.06208,
    2019, for a mean of bounded values; that it always covers is conjectured, not proven. Where we differ: two sides at
    2.5 % each, and a ratio where units differ in weight.)
    """
    d, size = np.asarray(changes, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    informative = effective_number(d)
    if informative >= bootstrap.FEW_CHANGED:
        return bootstrap.ratio_intervals([d], size, generator, informative=informative)[0]
    rows, times = np.unique(np.stack([d, size], axis=1), axis=0, return_counts=True)
    drawn = bootstrap.RESAMPLES
    sums = np.empty((drawn, 2))
    step = max(1, bootstrap.CHUNK_DRAWS // len(rows))
    for start in range(0, drawn, step):
        sums[start : start + step] = generator.standard_gamma(times, size=(min(step, drawn - start), len(rows))) @ rows
    unseen = generator.standard_exponential(drawn) * size.max()
    tail, below = (1 - bootstrap.CONFIDENCE) / 2, sums[:, 1] + unseen
    low = np.quantile((sums[:, 0] - largest * unseen) / below, tail)
    high = np.quantile((sums[:, 0] + largest * unseen) / below, 1 - tail)
    return float(low), float(high)
