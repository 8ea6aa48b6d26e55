"""A batch shared out among data-parallel processes, so that their sum is what one process makes of the whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from retain.train.ranks import rank_and_world

Batch = Mapping[str, Tensor]


class Share(NamedTuple):
    """The rows of a batch that one process takes.

    Attributes:
        batch: its rows; where there are fewer rows than processes some take the first row, which then counts nothing.
        counts: False for such a process.
        processes: how many share the batch.
    """

    batch: Batch
    counts: bool
    processes: int


def share_of(batch: Batch) -> Share:
    """This process's share of a batch: every n-th row, beginning with its rank."""
    rank, world = rank_and_world()
    rows = min(len(value) for value in batch.values())
    if world == 1:
        return Share(batch, counts=True, processes=1)
    own = slice(rank, None, world) if rank < rows else slice(0, 1)
    return Share({name: value[own] for name, value in batch.items()}, rank < rows, world)
