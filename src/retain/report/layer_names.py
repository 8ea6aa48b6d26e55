"""The place of a weight matrix, read off its name: its block and its kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

OUTSIDE = "other"
"""The column of layers that belong to no numbered block, as an output head."""


@dataclass(frozen=True)
class Place:
    """A layer's place in the map: its block's label and its kind."""

    block: str
    kind: str


def places(names: Sequence[str]) -> list[Place]:
    """The place of each layer.

    The first part of a dotted name that is a number is the block; what follows it, as short as stays unique, is the
    kind. Where a model has several stacks of blocks (an encoder and a decoder), a block carries its stack's name.
    """
    split = [_split(name) for name in names]
    stacks = {stack for stack, number, _ in split if number}
    short = _short_kinds({kind for _, number, kind in split if number})
    return [
        Place(_block_label(stack, number, several=len(stacks) > 1), short[kind]) if number else Place(OUTSIDE, kind)
        for stack, number, kind in split
    ]


def _split(name: str) -> tuple[str, str, str]:
    """(stack, block number, kind); without a number the whole name's last part is the kind."""
    parts = name.split(".")
    for position, part in enumerate(parts):
        if part.isdigit():
            kind = ".".join(parts[position + 1 :])
            return ".".join(parts[:position]), part, kind or ".".join(parts[:position])
    return "", "", parts[-1]


def _block_label(stack: str, number: str, *, several: bool) -> str:
    words = [part for part in stack.split(".") if part not in {"layers", "layer", "blocks", "block", "h", "model"}]
    return f"{words[-1]}.{number}" if several and words else number


def _short_kinds(kinds: set[str]) -> dict[str, str]:
    """Each kind by its last part, or by more parts where the last is shared."""
    found: dict[str, str] = {}
    for length in (1, 2, 3):
        tails = Counter(_tail(kind, length) for kind in kinds)
        found |= {kind: _tail(kind, length) for kind in kinds - found.keys() if tails[_tail(kind, length)] == 1}
    return found | {kind: kind for kind in kinds - found.keys()}


def _tail(kind: str, length: int) -> str:
    return ".".join(kind.split(".")[-length:])
