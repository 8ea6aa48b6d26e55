"""Rows that stand for many: which are looked at where looking at all of them would take minutes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from retain.data.item import DataItem

LOOKED_AT = 2000
"""Rows of a set of data whose lengths are looked at before a run."""


def looked_at(items: Sequence[DataItem], most: int = LOOKED_AT) -> list[int]:
    """The indices of the items that are looked at, in order: all of a few.

    Of many, half are those with the most characters, half are spread evenly, and besides there is one of each order of
    speakers, as a chat template may refuse some.

    Args:
        items: of one form.
        most: how many are looked at, those for the speakers aside.
    """
    if len(items) <= most:
        return list(range(len(items)))
    sizes = [sum(map(len, item.texts)) for item in items]
    longest = heapq.nlargest(most // 2, range(len(items)), key=sizes.__getitem__)
    spread = [place * len(items) // (most - most // 2) for place in range(most - most // 2)]
    speakers: dict[tuple[str, ...], int] = {}
    for index, item in enumerate(items):
        if getattr(item, "is_chat", False):
            speakers.setdefault(_speakers(item), index)
    return sorted({*longest, *spread, *list(speakers.values())[:most]})


def looked_at_words(name: str, looked: int, total: int) -> list[str]:
    """Say that only some lengths were looked at; nothing where all were."""
    if looked == total:
        return []
    return [f"{name}: lengths of {looked:,} of {total:,} rows were looked at, the longest by characters among them."]


def _speakers(item: DataItem) -> tuple[str, ...]:
    parts = (getattr(item, "prompt", ()), getattr(item, "completion", ()))
    return tuple(str(turn.role) for part in parts for turn in part if not isinstance(turn, str))
