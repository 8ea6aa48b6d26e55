"""Items in batches of like length, the same for every model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, get_args

Batching = Literal["padded", "one length", "single"]
"""How items are put together: filled up to the longest, only with others of their length, or not at all."""


def in_batches(lengths: Sequence[int], size: int, batching: Batching = "padded") -> list[list[int]]:
    """The places of items in batches of at most `size`, from the shortest to the longest.

    Args:
        lengths: of each item.
        size: items in a batch.
        batching: which items may be together.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups = [order]
    if batching == "one length":
        groups = [list(places) for _, places in itertools.groupby(order, lengths.__getitem__)]
    size = 1 if batching == "single" else size
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


def stricter(one: Batching, other: Batching) -> Batching:
    """The one of two that puts fewer items together."""
    return max(one, other, key=get_args(Batching).index)
