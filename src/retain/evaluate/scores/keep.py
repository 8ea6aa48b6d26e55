"""From right and wrong answers to the record of one retention suite, with the rules on when no score is due."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.errors import InputError
from retain.records.base import Interval
from retain.records.scores import KeepScore
from retain.stats.clusters import (
    Groups,
    cluster_changes,
    cluster_codes,
    cluster_interval,
    graded_interval,
    graded_p,
    sign_flip_p,
)
from retain.stats.mcnemar import Right, as_right, counts, detectable_loss, mcnemar_p
from retain.stats.retention import (
    above_chance,
    grouped_retention,
    groups_above_chance,
    retention,
    retention_interval,
)

LARGEST_BLIND_LOSS = 0.25
"""A suite on which a loss smaller than this could never be called significant is scored; others are too small."""

MINIMUM_ITEMS = 24
"""The fewest items for which `detectable_loss` is not above `LARGEST_BLIND_LOSS`: 6 of 24."""


def keep_score(
    name: str,
    base_right: NDArray[Any],
    tuned_right: NDArray[Any],
    chance: float | NDArray[Any],
    generator: np.random.Generator,
    *,
    metric: str = "accuracy",
    groups: Groups = None,
) -> KeepScore:
    """Compare right and wrong before and after on one suite.

    Status: "too few items" where the smallest loss that could show is unknown or above 25 % (n < 24), without scores;
    "base at chance" where the base is not significantly above guessing, with scores but without retention; else
    "measured".

    Args:
        name: of the suite.
        base_right: (n,) booleans, whether the base is right.
        tuned_right: (n,) booleans, the same items.
        chance: probability of guessing right, one figure or one for each item (of which the mean is taken).
        generator: source of the resamples; equal seeds give equal intervals.
        metric: name of the right-or-wrong metric.
        groups: (n,) what each item belongs to, where items come in groups: these are then the units.

    Raises:
        InputError: the suite is empty.
        ValueError: the arrays are not paired, or chance is not in [0, 1).
    """
    base, tuned = as_right(base_right), as_right(tuned_right)
    lost, gained = counts(base, tuned)
    n, guess = len(base), _mean_chance(chance, len(base))
    if n == 0:
        raise InputError(f"retention suite {name!r} holds no items: give at least {MINIMUM_ITEMS}.")
    changes = cluster_changes(base, tuned, groups)
    units = len(changes[2])
    detectable = detectable_loss(units)
    if detectable is None or detectable > LARGEST_BLIND_LOSS:
        return KeepScore(
            name=name,
            metric=metric,
            n=n,
            chance=guess,
            status="too few items",
            detectable_loss=detectable,
            units=units,
            note=_too_few(units, detectable),
        )
    grouped = units < n
    able = groups_above_chance(base, guess, units) if grouped else above_chance(base, guess)
    a_base, a_tuned = float(base.mean()), float(tuned.mean())
    left = retention(a_base, a_tuned, guess) if able else None
    interval = cluster_interval(*changes, generator)
    left_interval: Interval | None = None
    if able and grouped:
        codes = cluster_codes(groups, n)
        left_interval = grouped_retention(np.bincount(codes, base), changes[2], guess, interval, generator)
    elif able:
        left_interval = retention_interval(base, tuned, guess, generator)
    return KeepScore(
        name=name,
        metric=metric,
        n=n,
        chance=guess,
        status="measured" if able else "base at chance",
        base=a_base,
        tuned=a_tuned,
        lost=lost / n,
        gained=gained / n,
        p_value=sign_flip_p(changes[1] - changes[0]) if grouped else mcnemar_p(lost, gained),
        interval=interval,
        retention=left,
        retention_interval=left_interval,
        detectable_loss=detectable,
        units=units,
        note=_note(base, guess, able=able, bounded=left_interval is not None),
    )


def graded_keep_score(
    name: str,
    metric: str,
    base: NDArray[Any],
    tuned: NDArray[Any],
    generator: np.random.Generator,
    *,
    higher_is_better: bool,
    weights: NDArray[Any] | None = None,
    groups: Groups = None,
    largest: float | None = None,
) -> KeepScore:
    """Compare a metric with degrees before and after on one suite, by sign flips and intervals over its units.

    Args:
        name: of the suite.
        metric: of the metric, with its unit.
        base: (n,) the metric of each item before.
        tuned: (n,) after.
        generator: source of signs and resamples.
        higher_is_better: whether more of it is better.
        weights: (n,) > 0, for instance tokens.
        groups: (n,) what each item belongs to, where items come in groups.
        largest: the largest change that the metric allows, where there is one.

    Raises:
        InputError: the suite is empty.
    """
    before, after = np.asarray(base, dtype=np.float64), np.asarray(tuned, dtype=np.float64)
    n = len(before)
    if n == 0:
        raise InputError(f"retention suite {name!r} holds no items: give at least {MINIMUM_ITEMS}.")
    share = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    codes = cluster_codes(groups, n)
    changes, sizes = np.bincount(codes, share * (after - before)), np.bincount(codes, share)
    detectable = detectable_loss(len(sizes))
    if detectable is None or detectable > LARGEST_BLIND_LOSS:
        note = _too_few(len(sizes), detectable)
        values: dict[str, Any] = {"status": "too few items", "note": note}
    else:
        values = {
            "status": "measured",
            "base": float(np.average(before, weights=share)),
            "tuned": float(np.average(after, weights=share)),
            "p_value": graded_p(changes, generator),
            "interval": graded_interval(changes, sizes, generator, largest),
        }
    return KeepScore(
        name=name, metric=metric, higher_is_better=higher_is_better, n=n, units=len(sizes), chance=0.0, **values
    )


def _mean_chance(chance: float | NDArray[Any], n: int) -> float:
    values = np.asarray(chance, dtype=np.float64)
    if values.ndim and values.shape != (n,):
        raise ValueError(f"chance must be one figure or one for each of {n} items, got shape {values.shape}.")
    if not ((values >= 0) & (values < 1)).all():
        raise ValueError("chance must lie in [0, 1).")
    return float(values.mean()) if values.size else 0.0


def _too_few(n: int, detectable: float | None) -> str:
    shown = "no loss at all" if detectable is None else f"no loss below {detectable:.0%}"
    return f"{n} items could show {shown} to be more than chance; give at least {MINIMUM_ITEMS}."


def _note(base: Right, chance: float, *, able: bool, bounded: bool) -> str:
    if not able:
        return (
            f"The base is right on {int(base.sum())} of {len(base)} items, which guessing ({chance:.0%}) explains: "
            "this suite cannot show loss."
        )
    return "" if bounded else "The base is too near to chance for an interval of the retention."
