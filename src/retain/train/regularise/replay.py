"""Replay: rows to keep, spread evenly among the rows of the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.utils.data import Dataset

from retain.errors import InputError, is_number


class Mixed(Dataset[Any]):
    """A map-style data set with the rows of two others in a fixed order; the rows are passed on untouched.

    Attributes:
        order: for each row whether it is a row to keep, and its index among its kind.
    """

    def __init__(self, task_rows: Sequence[Any], keep_rows: Sequence[Any], order: Sequence[tuple[bool, int]]) -> None:
        self._sources = (task_rows, keep_rows)
        self.order = tuple(order)

    def __len__(self) -> int:
        """The number of rows of both sources."""
        return len(self.order)

    def __getitem__(self, index: int) -> Any:
        """The row at an index, as its source gives it."""
        keep, place = self.order[index]
        return self._sources[keep][place]


def mix_replay(task_rows: Any, keep_rows: Any, ratio: float, seed: int = 0) -> Any:
    """Mix two data sets into one in which a share `ratio` of all rows is replayed.

    Each task row comes exactly once, in its own order. Rows to keep come in a seeded order without replacement; after
    the last of them they begin anew in another order. With t task rows there are round(t · ratio / (1 − ratio))
    rows to keep, spread evenly: of any first n rows, n · ratio are rows to keep, within one. A Trainer that shuffles
    keeps the share, not the even spread.

    Args:
        task_rows: anything with a length and rows by index, a `datasets.Dataset`, or a table of pandas, whose rows are
            taken as mappings.
        keep_rows: the same kind.
        ratio: share of rows to keep among all rows, 0 ≤ ratio < 1.
        seed: of the order of the rows to keep.

    Returns:
        A `datasets.Dataset` when both are; a `Mixed` otherwise.

    Raises:
        InputError: the ratio is out of range, a side is empty or no rows, or the columns of two `datasets.Dataset`
            differ.

    Examples:
        >>> rows = retain.mix_replay(["task"] * 8, ["keep"] * 8, ratio=0.2, seed=0)
        >>> sorted(rows)
        ['keep', 'keep', 'task', 'task', 'task', 'task', 'task', 'task', 'task', 'task']
    """
    task_rows, keep_rows = _indexed(task_rows, "task_rows"), _indexed(keep_rows, "keep_rows")
    both = isinstance(task_rows, datasets.Dataset) and isinstance(keep_rows, datasets.Dataset)
    _check(task_rows, keep_rows, ratio, alike=both)
    order = mixed_order(len(task_rows), len(keep_rows), ratio, seed)
    if not both:
        return Mixed(task_rows, keep_rows, order)
    joined = datasets.concatenate_datasets([task_rows, keep_rows.cast(task_rows.features)])
    return joined.select([place + (len(task_rows) if keep else 0) for keep, place in order])


def mixed_order(task: int, keep: int, ratio: float, seed: int) -> list[tuple[bool, int]]:
    """The order of the rows, as pairs (whether it is a row to keep, its index in its source).

    Place i is a row to keep where ⌊(i + 1) · k/n + ½⌋ > ⌊i · k/n + ½⌋, with k rows to keep of n (Bresenham's spread).

    Args:
        task: number of task rows, at least 1.
        keep: number of different rows to keep, at least 1.
        ratio: 0 ≤ ratio < 1.
        seed: of the order of the rows to keep.
    """
    replayed = round(task * ratio / (1 - ratio))
    total = task + replayed
    generator = torch.Generator().manual_seed(seed)
    stream: list[int] = []
    while len(stream) < replayed:
        stream += torch.randperm(keep, generator=generator).tolist()
    order: list[tuple[bool, int]] = []
    shown = 0
    for place in range(total):
        due = (2 * (place + 1) * replayed + total) // (2 * total)
        order.append((True, stream[shown]) if due > shown else (False, place - shown))
        shown = due
    return order


def _indexed(rows: Any, name: str) -> Any:
    """Rows by their index.

    Raises:
        InputError: it is text, or goes by once only.
    """
    if hasattr(rows, "iterrows"):  # a table of pandas, of which a number is a column
        return rows.to_dict("records")
    if isinstance(rows, str | Path | Mapping) or not (hasattr(rows, "__len__") and hasattr(rows, "__getitem__")):
        raise InputError(
            f"{name}: {type(rows).__name__} was given, and rows by their index are expected: a list, or a data set "
            "that is in memory."
        )
    return rows


def _check(task_rows: Any, keep_rows: Any, ratio: float, *, alike: bool) -> None:
    problems = []
    if not (is_number(ratio) and 0 <= ratio < 1):
        problems.append(f"ratio: {ratio!r}; it is a share of all rows, at least 0 and below 1, 0.1 for instance.")
    problems += [
        f"{name}: there is no row; give at least one."
        for name, rows in (("task_rows", task_rows), ("keep_rows", keep_rows))
        if not len(rows)
    ]
    if alike and (wrong := _different_columns(task_rows.features, keep_rows.features)):
        problems.append(wrong)
    if problems:
        raise InputError(problems)


def _different_columns(task: Any, keep: Any) -> str | None:
    if set(task) != set(keep):
        return (
            f"task_rows have the columns {sorted(task)}, keep_rows {sorted(keep)}; both must have the same: rename or "
            "remove columns before mixing."
        )
    return next(
        (
            f"column {name!r} holds {task[name]} in task_rows and {keep[name]} in keep_rows; cast one to the "
            "other's type."
            for name in task
            if task[name] != keep[name]
        ),
        None,
    )
