"""From one metric's values, item by item, to the record of what was learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.errors import InputError, RetainError
from retain.records.base import Interval
from retain.records.scores import TaskScore
from retain.stats.bootstrap import change_interval
from retain.stats.clusters import Groups, cluster_codes, graded_interval


def task_score(
    name: str,
    metric: str,
    higher_is_better: bool,
    base: NDArray[Any],
    tuned: NDArray[Any],
    *,
    generator: np.random.Generator,
    weights: NDArray[Any] | None = None,
    groups: Groups = None,
) -> TaskScore:
    """Compare a metric before and after on the same items: mean, or micro-average Σ w x / Σ w.

    Args:
        name: of the task.
        metric: of the metric, with its unit.
        higher_is_better: whether more of it is better.
        base: (n,) the metric of each item before; right-or-wrong metrics as 0 and 1.
        tuned: (n,) after.
        generator: source of the resamples; equal seeds give equal intervals.
        weights: (n,) > 0; for a cross-entropy in nats per token each item's tokens, base and tuned being item means.
        groups: (n,) what each item belongs to, where items come in groups: these are then the units.

    Raises:
        InputError: fewer than two items.
        RetainError: a value is not finite.
        ValueError: the arrays are not of one length.
    """
    before, after = (np.asarray(side, dtype=np.float64) for side in (base, tuned))
    share = np.ones_like(before) if weights is None else np.asarray(weights, dtype=np.float64)
    if before.ndim != 1 or not before.shape == after.shape == share.shape:
        raise ValueError(f"arrays of one length expected, got {before.shape}, {after.shape}, {share.shape}.")
    if len(before) < 2:
        raise InputError(f"task {name!r} has {len(before)} test item(s): an interval needs at least two; give more.")
    for side, values in (("base", before), ("tuned", after)):
        if not np.isfinite(values).all():
            raise RetainError(
                f"{metric} of the {side} model is not finite on item {int(np.argmin(np.isfinite(values)))} of "
                f"{name!r}: its output is broken. Try a lower learning rate, or a dtype with more range."
            )
    return TaskScore(
        name=name,
        metric=metric,
        higher_is_better=higher_is_better,
        n=len(before),
        base=float(np.average(before, weights=share)),
        tuned=float(np.average(after, weights=share)),
        interval=_interval(before, after, generator, weights, groups),
    )


def _interval(
    before: NDArray[Any],
    after: NDArray[Any],
    generator: np.random.Generator,
    weights: NDArray[Any] | None,
    groups: Groups,
) -> Interval:
    if groups is None:
        return change_interval(before, after, generator, weights)
    share = np.ones_like(before) if weights is None else np.asarray(weights, dtype=np.float64)
    codes = cluster_codes(groups, len(before))
    changes, sizes = np.bincount(codes, share * (after - before)), np.bincount(codes, share)
    bounded = weights is None and np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all()
    return graded_interval(changes, sizes, generator, 1.0 if bounded else None)
