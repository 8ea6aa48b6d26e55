"""The verdict of a finished run, made again from its record: evidence that needs neither models nor data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from retain.errors import InputError
from retain.records.gone_record import GoneVerdict
from retain.records.items import read_items, unlike_record
from retain.records.paths import expanded
from retain.records.result import Result, read_result
from retain.records.verdicts import Judgement, SuiteVerdict
from retain.verdict.judge import disagreements, replay

GONE_WORDS, GONE_FIGURES = ("verdict", "n", "known", "units", "has_power"), ("margin", "share", "bound", "p_adjusted")
"""The same of the verdicts on what should be gone."""

WORDS_AND_COUNTS = ("verdict", "n", "units", "has_power")
FIGURES = ("margin", "p_value", "p_adjusted", "items_needed")
"""Fields of a suite's verdict that are compared as they stand, and but for rounding."""


def replayed_record(folder: str | Path) -> tuple[Result, Judgement]:
    """Judge a run again from `result.json` and `items.jsonl`.

    Returns:
        The record with that verdict, and the verdict.

    Raises:
        InputError: the record is missing or damaged, its items are not those that it was written with, its two sides
            were not measured alike, either is not recorded, or the verdict that it states does not follow from them.
    """
    place = expanded(folder)
    result = read_result(place / "result.json")
    path = place / "items.jsonl"
    if not path.is_file():
        raise InputError(f"{path}: missing; the verdict is made from the items, so it cannot be replayed.")
    if not result.provenance.items_hash:
        raise InputError(
            f"{place}: the record has no items_hash, so nothing shows that items.jsonl is the file it was made from; "
            "measure again with this version of retain."
        )
    if reason := unlike_record(path, result.provenance.items_hash):
        raise InputError(reason)
    sides = result.conditions or {}
    if not {"base", "tuned"} <= sides.keys():
        raise InputError(
            f"{place}: the record has no conditions of both sides, so nothing shows that base and tuned model were "
            "measured alike; measure again with retain."
        )
    if result.unlike_conditions:
        raise InputError(f"{place}: base and tuned model were not measured alike, so nothing follows from the record.")
    items = list(read_items(path))
    unlike = disagreements(result, items)
    if unlike:
        raise InputError([f"{place}: {sentence}" for sentence in unlike])
    judgement = replay(result, items)
    differing = [] if result.judgement is None else _differing(result.judgement, judgement)
    if differing:
        raise InputError(
            [
                f"{place}: {sentence}; the record was changed, or written by another version of retain."
                for sentence in differing
            ]
        )
    return result.model_copy(update={"judgement": judgement}), judgement


def replay_run(folder: str | Path) -> Judgement:
    """The verdict of a run made again; see `replayed_record`."""
    return replayed_record(folder)[1]


def _differing(stated: Judgement, made: Judgement) -> list[str]:
    """Statements of a record that differ from its items: words and counts exactly, figures up to rounding."""
    found = [
        f"the record says {field} {getattr(stated, field)!r}, its items say {getattr(made, field)!r}"
        for field in ("overall", "learned", "forgot")
        if getattr(stated, field) != getattr(made, field)
    ]
    if not _near(stated.alpha, made.alpha):
        found.append(f"the record says alpha {stated.alpha:g}, it is judged with {made.alpha:g}")
    if [one.suite for one in stated.suites] != [one.suite for one in made.suites]:
        return [*found, "the record judges other suites than its items have"]
    if [one.suite for one in stated.gone] != [one.suite for one in made.gone]:
        return [*found, "the record judges other suites of what should be gone than its items have"]
    found += _unlike_verdicts(stated.suites, made.suites, WORDS_AND_COUNTS, FIGURES)
    return found + _unlike_verdicts(stated.gone, made.gone, GONE_WORDS, GONE_FIGURES)


def _unlike_verdicts(
    stated: Sequence[SuiteVerdict | GoneVerdict],
    made: Sequence[SuiteVerdict | GoneVerdict],
    words: Sequence[str],
    figures: Sequence[str],
) -> list[str]:
    """Statements on suites that differ: words exactly, figures up to rounding."""
    found = []
    for one, other in zip(stated, made, strict=True):
        if one.decided_by.name != other.decided_by.name:
            names = f"{one.decided_by.name!r} of {one.suite}, its items say {other.decided_by.name!r}"
            found.append(f"the record says decided_by {names}")
        unlike = [field for field in words if getattr(one, field) != getattr(other, field)]
        unlike += [field for field in figures if not _near(getattr(one, field), getattr(other, field))]
        found += [
            f"the record says {field} {getattr(one, field)!r} of {one.suite}, its items say {getattr(other, field)!r}"
            for field in unlike
        ]
    return found


def _near(one: float | None, other: float | None) -> bool:
    """True if two figures are equal but for the rounding of another machine; nothing equals only nothing."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
