"""Batches shared out among processes: each runs its own, all know the results of all, in the order of one process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from retain.activations.distributed import gathered, processes, rank

Value = TypeVar("Value")


@dataclass(frozen=True)
class Share:
    """The batches of one process.

    Attributes:
        rank: of this process.
        processes: how many share the batches.
    """

    rank: int = 0
    processes: int = 1

    @classmethod
    def of_group(cls) -> Share:
        """The share of this process in its group; everything without one."""
        return cls(rank(), processes())

    def owns(self, place: int) -> bool:
        """True for the batches of this process."""
        return place % self.processes == self.rank

    def everywhere(self, value: Value) -> list[Value]:
        """A value of each process."""
        return [value] if self.processes == 1 else gathered(value)

    def joined(self, found: dict[int, Value]) -> list[Value]:
        """The results of all items in their order.

        Args:
            found: those of this process's items, by their places.
        """
        everything = {place: value for part in self.everywhere(found) for place, value in part.items()}
        return [everything[place] for place in sorted(everything)]


ALONE = Share()
"""One process runs everything."""
