"""What a comparison lists: methods, seeds and learning rates, as a recipe holds them, and what is wrong with them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

LARGEST_SEED = 2**32 - 1
"""The largest seed that all of Python, numpy and torch take."""

Entry = str | dict[str, Any]
"""A method: its name, or name and fields."""

Seeds = int | tuple[int, ...]
"""How many seeds, or which."""

Rates = tuple[float, ...] | dict[str, tuple[float, ...]]
"""Learning rates of every method, or by method."""


def list_problems(methods: Sequence[Entry], seed: int, seeds: Seeds, rates: Rates) -> list[str]:
    """A clause for each thing that cannot be meant.

    Args:
        methods: the methods to compare.
        seed: the first, where `seeds` says how many.
        seeds: as a recipe holds them.
        rates: the learning rates.
    """
    problems = [f"methods: an entry has no name: {entry}" for entry in methods if not name_of(entry)]
    listed = rates if isinstance(rates, dict) else {"": rates}
    if not all(0 < rate < math.inf for own in listed.values() for rate in own):
        problems.append("learning_rates: every rate must be a finite number above 0")
    if isinstance(rates, dict):
        compared = {name_of(entry) for entry in methods}
        problems += [f"learning_rates: {name!r} is not among methods" for name in rates if name not in compared]
    problems += _seed_problems(seed, seeds)
    return problems + [f"{name}: {what} is there twice" for name, what in _listed_twice(methods, seeds, listed)]


def name_of(entry: Entry) -> str | None:
    """The name of a method in a list; None where it has none."""
    return entry if isinstance(entry, str) else entry.get("name")


def seeds_of(seed: int, seeds: Seeds) -> tuple[int, ...]:
    """The seeds, one by one."""
    return tuple(range(seed, seed + seeds)) if isinstance(seeds, int) else seeds


def _seed_problems(seed: int, seeds: Seeds) -> list[str]:
    if (isinstance(seeds, int) and seeds < 1) or seeds == ():
        return ["seeds: at least one is needed"]
    given = (seed, seed + seeds - 1) if isinstance(seeds, int) else seeds
    odd = [one for one in given if not 0 <= one <= LARGEST_SEED]
    return [f"seeds: expected whole numbers from 0 to {LARGEST_SEED} (found {odd[0]})"] if odd else []


def _listed_twice(
    methods: Sequence[Entry], seeds: Seeds, rates: dict[str, tuple[float, ...]]
) -> Iterator[tuple[str, str]]:
    """What is there twice: the same run would be done once and counted as two."""
    entries = [json.dumps(entry, sort_keys=True, default=str) for entry in methods]
    yield from (("methods", text.strip('"')) for text, count in Counter(entries).items() if count > 1)
    if not isinstance(seeds, int):
        yield from (("seeds", str(seed)) for seed, count in Counter(seeds).items() if count > 1)
    for listed in rates.values():
        yield from (("learning_rates", f"{rate:g}") for rate, count in Counter(listed).items() if count > 1)
