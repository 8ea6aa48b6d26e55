"""How many rows of a source are read in full, and which: for a look at data before they are read for good."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from retain.data.entries import Entries
from retain.data.places import Numbered

LONGEST = 1000
"""Rows that are read because they are the longest; `retain.data.sample` looks at the lengths of as many."""

KindOf = Callable[[Any], Hashable]
"""What a row is of, such as its class."""


@dataclass(frozen=True)
class RowLimit:
    """At most so many rows of a source are read in full, the others are counted.

    Attributes:
        most: how many; None for every row.
    """

    most: int | None = None

    def chosen(self, sizes: Sequence[int]) -> list[int]:
        """The indices of the rows that are read, ascending: the longest, the first and the last, others evenly between.

        Args:
            sizes: the characters of each row.
        """
        if self.most is None or len(sizes) <= self.most:
            return list(range(len(sizes)))
        number = min(LONGEST, self.most // 2)
        longest = set(heapq.nlargest(number, range(len(sizes)), key=sizes.__getitem__))
        others = [index for index in range(len(sizes)) if index not in longest]
        steps = max(self.most - number - 1, 1)
        spread = {others[place * (len(others) - 1) // steps] for place in range(self.most - number)}
        return sorted(longest | spread)


EVERY_ROW = RowLimit()


@dataclass(frozen=True)
class Sample:
    """The rows of a source that were read, where not all were.

    Attributes:
        numbers: of these rows among all, from 0.
        total: rows of the source.
    """

    numbers: Sequence[int]
    total: int

    def sentence(self, name: str) -> str:
        """Say how many rows of some data were read, and which."""
        return (
            f"{name}: {len(self.numbers):,} of {self.total:,} rows were read, the longest and others evenly spread; "
            "`tune` reads all of them before it trains."
        )


def of_read(name: str, sample: Sample | None) -> str:
    """What counts of some data are of, for messages: of the rows that were read, where not all were."""
    return name if sample is None else f"{name}, of the rows read"


@dataclass(frozen=True)
class ChosenRows:
    """Rows of a source with their places, and which they are where not all were read."""

    rows: Sequence[Numbered]
    sample: Sample | None = None


def choose_rows(parts: Iterator[Entries], limit: RowLimit, kind: KindOf | None = None) -> ChosenRows:
    """Read the rows of all files of a source, or those that a limit leaves.

    Args:
        parts: the entries of each file; without a limit no two are held at once.
        limit: how many rows are read.
        kind: what a row is of; rows that a limit would leave out are gone through, and the first of each kind is kept.
    """
    if limit.most is None:
        return ChosenRows([row for part in parts for row in part.rows(None)])
    held = list(parts)
    total = sum(part.count for part in held)
    if total <= limit.most:
        return ChosenRows([row for part in held for row in part.rows(None)])
    chosen = limit.chosen(list(chain.from_iterable(part.sizes() for part in held)))
    if kind is not None:
        return _with_each_kind(held, chosen, total, kind)
    rows: list[Numbered] = []
    before = 0
    for part in held:
        rows += part.rows([index - before for index in chosen if before <= index < before + part.count])
        before += part.count
    return ChosenRows(rows, Sample(chosen, total))


def _with_each_kind(parts: Sequence[Entries], chosen: Sequence[int], total: int, kind: KindOf) -> ChosenRows:
    """The rows with some indices, and the first of each kind."""
    wanted = set(chosen)
    known: set[Hashable] = set()
    found: dict[int, Numbered] = {}
    for index, (place, row) in enumerate(row for part in parts for row in part.rows(None)):
        of = kind(row)
        if index in wanted or of not in known:
            found[index] = place, row
        known.add(of)
    return ChosenRows(list(found.values()), Sample(list(found), total))
