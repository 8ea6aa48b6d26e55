"""Rows of data on disk: one JSON object a line, and the draw that picks them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

Thing = TypeVar("Thing")


def write(path: Path, rows: Iterable[Mapping[str, object]]) -> int:
    """Write `rows` to `path` as UTF-8, making its folder; return how many there were."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def write_images(
    root: Path, train: Iterable[Mapping[str, object]], measured: Sequence[Mapping[str, object]], corrupted: int
) -> dict[str, object]:
    """Write the rows that are learned, those that are measured, and the first of these once more, to be corrupted.

    Returns:
        How many rows each file holds.
    """
    few = [{key: value for key, value in row.items() if key != "condition"} for row in measured[:corrupted]]
    return {
        "train": write(root / "train.jsonl", train),
        "test": write(root / "test.jsonl", measured),
        "corrupted": write(root / "corrupted.jsonl", few),
    }


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
