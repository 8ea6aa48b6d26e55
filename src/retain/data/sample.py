"""Rows that stand for many: which are looked at where looking at all of them would take minutes."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

from retain.data.collector import without_collector
from retain.data.conversation import Message
from retain.data.item import DataItem
from retain.data.reasoning import opening_at_start

LOOKED_AT = 2000
"""Rows of a set of data whose lengths are looked at before a run."""


@without_collector()
def looked_at(items: Sequence[DataItem], most: int = LOOKED_AT) -> list[int]:
    """The indices of the items that are looked at, in order: all of a few.

    Of many, half are those with the most characters, half are spread evenly, and besides there is one of each shape of
    conversation, as a chat template may refuse some.

    Args:
        items: of one form.
        most: how many are looked at, those for their shapes aside.
    """
    if len(items) <= most:
        return list(range(len(items)))
    sizes = [sum(map(len, item.texts)) for item in items]
    longest = heapq.nlargest(most // 2, range(len(items)), key=sizes.__getitem__)
    spread = [place * len(items) // (most - most // 2) for place in range(most - most // 2)]
    shapes: dict[Hashable, int] = {}
    for index, item in enumerate(items):
        if item.is_chat:
            shapes.setdefault(shape_of(item), index)
    return sorted({*longest, *spread, *list(shapes.values())[:most]})


def looked_at_words(name: str, looked: int, total: int) -> list[str]:
    """Say that only some lengths were looked at; nothing where all were."""
    if looked == total:
        return []
    return [f"{name}: lengths of {looked:,} of {total:,} rows were looked at, the longest by characters among them."]


def shape_of(item: Any) -> Hashable:
    """All of a conversation that a chat template may refuse, but for the words: equal for those it treats alike.

    Each turn's role, whether it has content, begins with reasoning, calls tools, and its further keys; which turns
    follow one another, how often being left out; how it begins and ends; and what the template is given besides.
    """
    turns = [_turn_shape(turn) for turn in (*item.prompt, *item.completion)]
    following = frozenset(pairwise(turns))
    inputs = (item.template_inputs or {}).items()
    given = sorted((key, str(value) if isinstance(value, bool | str) else "") for key, value in inputs)
    return turns[0], following, turns[-1], tuple(given), item.other_keys


def _turn_shape(turn: Message) -> Hashable:
    extra = turn.model_extra or {}
    content = turn.content
    kind = 0 if content is None else 1 if not content.strip() else 2
    reasons = kind == 2 and turn.role == "assistant" and bool(opening_at_start(content or ""))
    return (turn.role, kind, reasons, *sorted(extra)) if extra else (turn.role, kind, reasons)
