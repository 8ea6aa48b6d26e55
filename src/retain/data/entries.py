"""The rows of a file told apart but not yet made values: how many there are, how long each is, and a choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retain.data.places import Numbered

Indices = Sequence[int] | None
"""Rows by their number from 0, ascending; None for all of them."""


@dataclass(frozen=True)
class Entries:
    """The rows of one file or data set.

    Attributes:
        count: how many there are, as far as they can be told apart.
        sizes: the characters of each, as it stands there or as its texts have.
        rows: those with some indices, each with its place.
    """

    count: int
    sizes: Callable[[], Sequence[int]]
    rows: Callable[[Indices], Iterator[Numbered]]

    @classmethod
    def of(cls, rows: Iterable[Numbered]) -> Entries:
        """The entries of a file that had to be read to its end."""
        found = list(rows)
        return cls(
            len(found),
            lambda: [characters_of(row) for _, row in found],
            lambda chosen: iter(found) if chosen is None else (found[index] for index in chosen),
        )

    def then(self, step: Callable[[Iterator[Numbered]], Iterator[Numbered]]) -> Entries:
        """The same entries, whose rows go through a further step."""
        return replace(self, rows=lambda chosen: step(self.rows(chosen)))


def characters_of(value: Any) -> int:
    """The characters of all texts in a value."""
    if isinstance(value, str):
        return len(value)
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return sum(map(characters_of, inner))
