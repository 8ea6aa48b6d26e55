"""Continual learning: what a sequence of tasks left of the earlier ones, as ACC, BWT, forgetting, FWT.

All are read off R (T + 1, T): R[i, j] is the score on task j + 1 after stage i. Row 0 is the base, before any task;
row i is after training on task i. In the formulas below tasks count from 1: R_{i,j} is `matrix[i, j - 1]`. The papers
have no row 0; names differ between libraries, so each function names its variant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retain.errors import InputError
from retain.records.base import Interval
from retain.stats.bootstrap import (
    FEW_CHANGED,
    RESAMPLES,
    clopper_pearson,
    few_changes_interval,
    percentiles,
    right_wrong_interval,
)
from retain.stats.mcnemar import Right, as_right, counts

Floats = NDArray[np.float64]
Part = tuple[float, float, float]
"""An estimate with its lower and upper end."""


class SequenceIntervals(NamedTuple):
    """95 % intervals of the four figures; None where the figure is (one task only)."""

    average: Interval
    backward: Interval | None
    forgetting: Interval | None
    forward: Interval | None


def average_accuracy(matrix: NDArray[Any]) -> float:
    """ACC = 1/T Σ_j R_{T,j}: mean over tasks of the last row (Lopez-Paz and Ranzato, NeurIPS 2017)."""
    return float(_checked(matrix)[-1].mean())


def backward_transfer(matrix: NDArray[Any]) -> float | None:
    """BWT = 1/(T−1) Σ_{j<T} R_{T,j} − R_{j,j}: below 0 for loss (Lopez-Paz and Ranzato, 2017). None for one task."""
    R = _checked(matrix)
    tasks = R.shape[1]
    return _mean([R[tasks, j] - R[j + 1, j] for j in range(tasks - 1)])


def forward_transfer(matrix: NDArray[Any]) -> float | None:
    """FWT vs base = 1/(T−1) Σ_{j>1} R_{j−1,j} − R_{0,j}: what earlier tasks gave a task before it was trained.

    Lopez-Paz and Ranzato (2017) with the base model in place of a randomly initialised one. None for one task.
    """
    R = _checked(matrix)
    return _mean([R[j, j] - R[0, j] for j in range(1, R.shape[1])])


def forgetting(matrix: NDArray[Any], *, include_base: bool = False) -> float | None:
    """F = 1/(T−1) Σ_{j<T} max_{l<T} R_{l,j} − R_{T,j}: the best there was minus what is left. None for one task.

    Chaudhry et al., "Riemannian Walk for Incremental Learning", ECCV 2018: l = 1 … T−1, rows before task j was trained
    included, the last row not; below 0 where the last stage is the best. With `include_base` l starts at 0, so that
    knowledge the base brought counts too: for a pretrained model the more telling variant. Other variants: the score
    right after learning minus the last is −BWT; a maximum that takes in the last row is never below 0.
    """
    R = _checked(matrix)
    rows = R[_start(include_base) : -1, :-1]
    return _mean(list(rows.max(axis=0) - R[-1, :-1])) if rows.size else None


def accuracy_matrix(right: Sequence[NDArray[Any]]) -> Floats:
    """R (T + 1, T) from the items of each task.

    Args:
        right: for each of T tasks (T + 1, n_j) booleans: whether item k is right after stage i, row 0 the base.

    Raises:
        InputError: a task has no items.
        ValueError: a task does not have T + 1 rows.
    """
    tasks = [as_right(task) for task in right]
    for j, task in enumerate(tasks):
        if task.ndim != 2 or len(task) != len(tasks) + 1:
            raise ValueError(f"task {j + 1} of {len(tasks)}: ({len(tasks) + 1}, items) expected, got {task.shape}.")
        if not task.shape[1]:
            raise InputError(f"task {j + 1} of {len(tasks)} has no test items: give at least one.")
    return _checked(np.stack([task.mean(axis=1) for task in tasks], axis=1) if tasks else np.empty((1, 0)))


def intervals(
    right: Sequence[NDArray[Any]], generator: np.random.Generator, *, include_base: bool = False
) -> SequenceIntervals:
    """95 % intervals of ACC, BWT, forgetting and FWT from items right or wrong after each stage.

    Stages are paired by item; tasks are independent. So each task's part gets its own interval (ACC: exact limits;
    changes: `bootstrap.right_wrong_interval`, the paired bootstrap with its closed form for few changes; forgetting:
    the paired bootstrap of the maximum, see `_forgotten`), and the mean of the parts is put together by
    square-and-add, lower = mean − √Σ(d_j − l_j)²/m (Zou and Donner, Statist. Med. 27, 2008, 1693–1702).
    They tell of other test items, not of other orders of tasks or other seeds.

    Args:
        right: as for `accuracy_matrix`.
        generator: source of the resamples; equal seeds give equal intervals.
        include_base: as for `forgetting`.
    """
    accuracy_matrix(right)
    tasks = [as_right(task) for task in right]
    last, earlier = len(tasks), tasks[:-1]
    backward = [_change(task[j + 1], task[last], generator) for j, task in enumerate(earlier)]
    forward = [_change(task[0], task[j], generator) for j, task in enumerate(tasks) if j]
    rows = [task[_start(include_base) :] for task in earlier]
    return SequenceIntervals(
        average=_joined([_proportion(task[last]) for task in tasks]),
        backward=_joined(backward) if backward else None,
        forgetting=_joined([_forgotten(part, generator) for part in rows]) if rows else None,
        forward=_joined(forward) if forward else None,
    )


def _forgotten(right: Right, generator: np.random.Generator) -> Part:
    """Highest mean of an earlier row minus the mean of the last, right (rows, n), with its interval.

    Fewer than `FEW_CHANGED` items changed between the best row and the last: closed form for these two rows. Otherwise
    bootstrap: resampling items is drawing how often each pattern of right and wrong over the rows occurs.
    """
    best = int(right[:-1].mean(axis=1).argmax())
    lost, gained = counts(right[best], right[-1])
    n = right.shape[1]
    found = (lost - gained) / n
    if lost + gained < FEW_CHANGED:
        low, high = few_changes_interval(lost, gained, n)
        return found, -high, -low
    patterns, count = np.unique(right, axis=1, return_counts=True)
    drawn = generator.multinomial(n, count / n, size=RESAMPLES)
    means = drawn @ patterns.T.astype(np.float64) / n
    return found, *percentiles(means[:, :-1].max(axis=1) - means[:, -1], lost + gained)


def _change(before: Right, after: Right, generator: np.random.Generator) -> Part:
    lost, gained = counts(before, after)
    n = len(before)
    return (gained - lost) / n, *right_wrong_interval(lost, gained, n, generator)


def _proportion(right: Right) -> Part:
    return float(right.mean()), *clopper_pearson(int(right.sum()), len(right))


def _joined(parts: list[Part]) -> Interval:
    mean = sum(found for found, _, _ in parts) / len(parts)
    down = math.hypot(*(found - low for found, low, _ in parts)) / len(parts)
    up = math.hypot(*(high - found for found, _, high in parts)) / len(parts)
    return mean - down, mean + up


def _start(include_base: bool) -> int:
    return 0 if include_base else 1


def _mean(values: list[Any]) -> float | None:
    return float(np.mean(values)) if values else None


def _checked(matrix: NDArray[Any]) -> Floats:
    R = np.asarray(matrix, dtype=np.float64)
    if R.ndim != 2 or R.shape[0] != R.shape[1] + 1 or not R.shape[1]:
        raise ValueError(f"a matrix (tasks + 1, tasks) with the base in row 0 expected, got shape {R.shape}.")
    if not np.isfinite(R).all():
        raise ValueError("every task must be scored after every stage and before the first; a score is missing.")
    return R
