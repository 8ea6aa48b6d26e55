"""Each suite of two logs, paired and scored, and the sentences on what a reader must know of how that was done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from retain.errors import InputError
from retain.evaluate.scores.declining import declines
from retain.jobs.judge.logs import Answer, Log, named
from retain.jobs.judge.metric_choice import Wishes, metric_of, unmatched
from retain.jobs.judge.pairing import PairedSuite, pair_suites
from retain.recipe.judge_recipe import ALL, JudgeRecipe
from retain.records.gone_record import DECLINED
from retain.records.items import Item, Side
from retain.records.metric import Metric
from retain.verdict.column import Column, column_of_items

Part = Literal["task", "keep", "gone"]
"""What a suite's items are to be: learned, kept, gone."""


@dataclass(frozen=True)
class JudgedSuite:
    """One suite, paired and scored."""

    paired: PairedSuite
    part: Part
    metric: Metric
    column: Column
    items: tuple[Item, ...]


def judged_suites(recipe: JudgeRecipe, base: Log, tuned: Log) -> list[JudgedSuite]:
    """Every suite, paired and scored.

    Raises:
        InputError: with every reason why some cannot be.
    """
    problems: list[str] = []
    wishes = Wishes(recipe.metric, recipe.range, recipe.lower_is_better)
    judged, all_paired = [], []
    for name, suite in base.suites.items():
        paired = pair_suites(suite, tuned.suites[name], problems, intersection=recipe.intersection)
        if paired is None:
            continue
        all_paired.append(paired)
        if (metric := metric_of(paired, wishes, problems)) is None:
            continue
        part: Part = "task" if name in recipe.task else "gone" if name in recipe.gone else "keep"
        if part == "task" and len(paired.pairs) < 2:
            problems.append(f"{name}: one item has no interval; give at least two, or leave it out of --task.")
            continue
        if part == "gone" and not metric.right_or_wrong:
            problems.append(
                f"{name}: its {metric.name} is not right or wrong, so it cannot show that something is gone; name "
                f"another (--metric {name}:METRIC)."
            )
            continue
        items = tuple(_items(paired, part))
        chance = _stated_chance(recipe, name) if part == "gone" else _chance(recipe, paired)
        column = column_of_items(name, metric, items, chance if metric.right_or_wrong else 0.0)
        judged.append(JudgedSuite(paired, part, metric, column, items))
    if len(all_paired) == len(base.suites):  # else a suite that has the metric may be one that could not be paired
        problems += unmatched(all_paired, wishes)
    if problems:
        raise InputError(problems)
    return judged


def _chance(recipe: JudgeRecipe, paired: PairedSuite) -> float:
    """The share that guessing gets right: as stated, else as the log tells, else 0."""
    return recipe.chance.get(paired.name, recipe.chance.get(ALL, paired.base.chance or 0.0))


def _stated_chance(recipe: JudgeRecipe, name: str) -> float:
    """The share that guessing gets right as stated: what a log tells may be had by one answer to all, and known."""
    return recipe.chance.get(name, recipe.chance.get(ALL, 0.0))


def _items(paired: PairedSuite, part: Part) -> Iterator[Item]:
    for index, (base, tuned) in enumerate(paired.pairs):
        withheld = base.withheld or tuned.withheld
        yield Item(
            part=part,
            suite=paired.name,
            index=index,
            group=base.group,
            condition=base.condition,
            withheld=withheld,
            question=base.question,
            expected=base.expected,
            base=_side(base, part),
            tuned=_side(tuned, part),
        )


def _side(answer: Answer, part: Part) -> Side:
    scores = {name: value for name, value in answer.scores.items() if np.isfinite(value)}
    if part == "gone" and answer.answer is not None:
        scores[DECLINED] = float(declines(answer.answer))
    return Side(answer=answer.answer, cut_off=answer.cut_off, scores=scores)


def notes_on(recipe: JudgeRecipe, base: Log, tuned: Log, judged: Sequence[JudgedSuite]) -> list[str]:
    """Sentences on how the logs were read and paired, on what differs all the same, and on what is not known."""
    notes = [f"Base log: {note}" for note in base.notes] + [f"Tuned log: {note}" for note in tuned.notes]
    notes += [note for one in judged for note in one.paired.notes]
    differing = [
        f"{name}: base {base.told[name]}, tuned {tuned.told[name]}"
        for name in base.told
        if name in tuned.told and base.told[name] != tuned.told[name]
    ]
    if differing:
        notes.append(f"The two runs differ in what need not be equal, but can change answers: {'; '.join(differing)}.")
    unknown = [
        one.paired.name
        for one in judged
        if one.part != "gone"
        and one.metric.right_or_wrong
        and one.paired.base.chance is None
        and not _states_chance(recipe, one.paired.name)
    ]
    if unknown:
        notes.append(
            f"{named(unknown)}: the log does not tell what guessing gets right, so it is taken to be nothing; of "
            "questions with choices say it (--chance SUITE:SHARE), or a base that guesses passes for one that knows."
        )
    unscaled = dict.fromkeys(one.metric.name for one in judged if one.part == "keep" and one.metric.span is None)
    if unscaled:
        notes.append(
            f"The range of {named(list(unscaled))} is not known, so that no loss can be called small; say it (--range "
            "METRIC:LOW:HIGH)."
        )
    if not any(_changed(one) for one in judged):
        notes.append("No item has another score than before: as far as the logs tell, the tuned model is the base.")
    return notes


def _states_chance(recipe: JudgeRecipe, name: str) -> bool:
    return name in recipe.chance or ALL in recipe.chance


def _changed(one: JudgedSuite) -> bool:
    return bool((one.column.base != one.column.tuned).any())
