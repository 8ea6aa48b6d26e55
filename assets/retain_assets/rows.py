"""Rows of data on disk: one JSON object a line, and the draw that picks them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

Thing = TypeVar("Thing")


def write(path: Path, rows: Iterable[Mapping[str, object]]) -> int:
    """Write `rows` to `path` as UTF-8, making its folder; return how many there were."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def balanced(things: Iterable[Thing], kind: Callable[[Thing], str], each: int) -> list[Thing]:
    """The first `each` things of every kind, in the order given: draw the order before.

    Raises:
        ValueError: a kind has fewer than `each`.
    """
    taken: dict[str, int] = defaultdict(int)
    kept = []
    for thing in things:
        taken[kind(thing)] += 1
        if taken[kind(thing)] <= each:
            kept.append(thing)
    if few := {name: count for name, count in sorted(taken.items()) if count < each}:
        raise ValueError(f"asked for {each} of every kind; found only {few}")
    return kept
