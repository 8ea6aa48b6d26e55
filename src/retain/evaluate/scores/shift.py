"""The cost of tuning where inputs differ from the usual ones: corrupted images, another style.

Every figure here is relative to the *base model*, so it is called "vs base". The mCE of ImageNet-C (Hendrycks and
Dietterich, 2019, arXiv 1903.12261) is relative to AlexNet; the two must not be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retain.errors import InputError
from retain.records.base import Interval
from retain.stats.bootstrap import CHUNK_DRAWS, RESAMPLES, expanded_tail, right_wrong_interval
from retain.stats.mcnemar import as_right, counts

Kinds = Mapping[str, NDArray[Any]]
"""Kind of corruption → booleans (…, n): whether each of n images is right, for instance (severities, n)."""


class MeanCorruptionError(NamedTuple):
    """mCE vs base over the kinds that have one.

    Attributes:
        value: mean of the corruption errors, 1 for no change, below 1 for more robust; None if no kind has one.
        by_kind: corruption error of each kind; None where the base makes no error.
        left_out: the kinds of the latter sort, which the mean leaves out.
    """

    value: float | None
    by_kind: dict[str, float | None]
    left_out: tuple[str, ...]


def corruption_error(base_right: NDArray[Any], tuned_right: NDArray[Any]) -> float | None:
    """Corruption error vs base of one kind: errors of the tuned model / errors of the base, over all severities.

    CE = Σ_s E_tuned,s / Σ_s E_base,s, below 1 for more robust; None where the base makes no error.

    Args:
        base_right: (…, n) booleans, for instance (severities, n): whether the base is right.
        tuned_right: the same images.

    Raises:
        ValueError: the arrays are not paired, or are empty.
    """
    base, tuned = as_right(base_right), as_right(tuned_right)
    if base.shape != tuned.shape or not base.size:
        raise ValueError(f"two filled arrays of one shape expected, got {base.shape} and {tuned.shape}.")
    errors = int((~base).sum())
    return float((~tuned).sum()) / errors if errors else None


def mean_corruption_error(base: Kinds, tuned: Kinds) -> MeanCorruptionError:
    """Mean over kinds of corruption of `corruption_error`: mCE vs base.

    Raises:
        ValueError: the sides do not hold the same kinds, or the arrays of a kind are not paired.
    """
    if not base or set(base) != set(tuned):
        raise ValueError(f"both sides need the same kinds of corruption, got {sorted(base)} and {sorted(tuned)}.")
    by_kind = {kind: corruption_error(base[kind], tuned[kind]) for kind in base}
    known = [value for value in by_kind.values() if value is not None]
    left_out = tuple(kind for kind, value in by_kind.items() if value is None)
    return MeanCorruptionError(float(np.mean(known)) if known else None, by_kind, left_out)


def mean_corruption_interval(base: Kinds, tuned: Kinds, generator: np.random.Generator) -> Interval | None:
    """95 % interval of the mCE vs base over the kinds in which the base makes errors: paired bootstrap over images.

    An image is drawn with all its corruptions, which depend on one another. A resample in which the base makes no
    error of some kind leaves the ratio open: it counts as −∞ for the lower end and +∞ for the upper. Percentiles are
    expanded by the number of images on which anything changed; with fewer than about twenty the interval is too
    narrow, and without width where none changed.

    Returns:
        The interval; None where an end is infinite or no kind has errors.

    Raises:
        InputError: fewer than two images.
        ValueError: the kinds do not hold the same number of images, or the sides are not paired.
    """
    kinds = [kind for kind, value in mean_corruption_error(base, tuned).by_kind.items() if value is not None]
    errors = [[_errors(side[kind]) for kind in kinds] for side in (base, tuned)]
    if len({len(of_kind) for side in errors for of_kind in side}) > 1:
        raise ValueError("every kind of corruption needs the same images, along the last axis.")
    if not kinds:
        return None
    before, after = (np.stack(side, axis=1) for side in errors)
    n = len(before)
    if n < 2:
        raise InputError(f"an interval needs at least two images, but there is {n}: give more.")
    samples = np.empty((RESAMPLES, 2))
    step = max(1, CHUNK_DRAWS // n)
    for start in range(0, RESAMPLES, step):
        drawn = generator.multinomial(n, np.full(n, 1 / n), size=min(step, RESAMPLES - start)).astype(np.float64)
        below, above = drawn @ before, drawn @ after
        ratio = np.divide(above, below, out=np.zeros_like(above), where=below > 0).mean(axis=1)
        open_ended = (below == 0).any(axis=1, keepdims=True)
        samples[start : start + len(drawn)] = np.where(open_ended, (-np.inf, np.inf), ratio[:, np.newaxis])
    tail = expanded_tail(_changed(base, tuned, kinds))
    low = float(np.quantile(samples[:, 0], tail, method="lower"))
    high = float(np.quantile(samples[:, 1], 1 - tail, method="higher"))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def style_gap(usual_right: NDArray[Any], other_right: NDArray[Any]) -> float:
    """Accuracy in the style trained on minus accuracy in another: above 0, the other style is harder.

    Raises:
        ValueError: one of the two holds no items.
    """
    usual, other = as_right(usual_right), as_right(other_right)
    if not usual.size or not other.size:
        raise ValueError("both styles need at least one item.")
    return float(usual.mean() - other.mean())


def style_gap_change_interval(
    usual: tuple[NDArray[Any], NDArray[Any]],
    other: tuple[NDArray[Any], NDArray[Any]],
    generator: np.random.Generator,
) -> Interval:
    """95 % interval of how much tuning widened the gap: gap_tuned − gap_base = (change in style) − (change outside).

    The two changes are of different items and so independent; their intervals are put together by square-and-add
    (Zou and Donner, Statist. Med. 27, 2008, 1693–1702): lower = d₁ − d₂ − √((d₁ − l₁)² + (u₂ − d₂)²).

    Args:
        usual: (base right, tuned right), (n,) each, in the style trained on.
        other: (base right, tuned right), (m,) each, in the other style.
        generator: source of the resamples.

    Raises:
        ValueError: the arrays are not paired, or are empty.
    """
    (d1, low1, high1), (d2, low2, high2) = (_change(*side, generator) for side in (usual, other))
    low = d1 - d2 - math.hypot(d1 - low1, high2 - d2)
    return low, d1 - d2 + math.hypot(high1 - d1, d2 - low2)


def _change(base: NDArray[Any], tuned: NDArray[Any], generator: np.random.Generator) -> tuple[float, float, float]:
    lost, gained = counts(base, tuned)
    n = len(base)
    if not n:
        raise ValueError("both styles need at least one item.")
    return (gained - lost) / n, *right_wrong_interval(lost, gained, n, generator)


def _errors(right: NDArray[Any]) -> NDArray[np.float64]:
    """Errors on each image over all severities, (n,)."""
    wrong = ~as_right(right)
    return np.asarray(wrong.reshape(-1, wrong.shape[-1]).sum(axis=0), dtype=np.float64)


def _changed(base: Kinds, tuned: Kinds, kinds: list[str]) -> int:
    differ = [as_right(base[kind]) != as_right(tuned[kind]) for kind in kinds]
    return int(np.any([part.reshape(-1, part.shape[-1]).any(axis=0) for part in differ], axis=0).sum())
