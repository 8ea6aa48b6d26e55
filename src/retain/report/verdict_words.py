"""The verdict in words: on the whole run in one sentence, on each suite in one row.

"Kept" never means that nothing was lost. It means: shown to have lost less than the margin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from retain.records import numbers
from retain.records.result import Result
from retain.records.scores import KeepScore, TaskScore
from retain.records.verdicts import Judgement, SuiteVerdict, Verdict
from retain.report import claims as words
from retain.report.tables.budget import budget_sentence
from retain.report.tables.gone_tables import gone_sentence
from retain.report.tables.scores_table import Table

VERDICTS: tuple[Verdict, ...] = ("kept", "lost", "changed format", "too few items to say")
VERDICT_SIGNS: dict[str, str] = {"kept": "✓", "lost": "▼", "changed format": "↔", "too few items to say": "?"}

MEANING = (
    "Kept: shown to have lost less than the margin. Lost: a loss is shown. Changed format: the knowledge is still "
    "there, but the answers are given in another form. Too few items to say: neither a loss nor its absence is shown."
)
HELD_OUT_TEXT = "held-out text"
"""A judgement's name for what was measured on held-out text; its change stands in the drift, not in a score."""

_LEARNED = {
    "yes": "It learned the task",
    "worse": "It got worse at the task",
    "no noticeable change": "It changed nothing noticeable at the task",
    "not shown": "It is not shown to have learned the task",
    "not measured": "No task was measured",
}
_NOTHING_TO_LEARN = "It had nothing to learn, since the base answers the whole task rightly"
_KEPT = {
    "kept": "kept what it was asked about",
    "lost": "lost something it knew",
    "changed format": "answers in another format",
    "too few items to say": "there are too few items to say what it lost",
}

_TELLS_POWER = re.compile("chance-level model|cannot show loss|too few to show any loss")
"""Reasons that say already that a suite has no power (`retain.verdict.reasons`)."""

_KEPT_ALONE = {
    "kept": "It kept what it was asked about",
    "lost": "It lost something it knew",
    "changed format": "It answers in another format",
    "too few items to say": "There are too few items to say what it lost",
}
"""The same as a sentence of its own, where the task, which \"it\" learned, does not stand before it."""


def verdict_cell(verdict: str) -> str:
    """A verdict with a sign before it, so that it is found without colour."""
    return f"{VERDICT_SIGNS.get(verdict, '·')} {verdict}"


def headline(result: Result) -> str:
    """The verdict in one sentence, or the readings of each score; then the budget."""
    parts = (_judged_headline(result), gone_sentence(result), budget_sentence(result))
    return " ".join(part for part in parts if part)


def _judged_headline(result: Result) -> str:
    judged = result.judgement
    if judged is None:
        return words.headline(result)
    full = judged.learned not in {"yes", "worse"} and _nothing_to_learn(result.task)
    learned = _NOTHING_TO_LEARN if full else _LEARNED[judged.learned]
    if judged.gone and not judged.suites:
        return "" if judged.learned == "not measured" else f"{learned}."
    if judged.gone and judged.learned == "not measured":
        return f"{_KEPT_ALONE[judged.overall]}: {_clause(judged.reason)}."
    joint = "and" if (full or judged.learned == "yes") == (judged.overall == "kept") else "but"
    kept = _KEPT[judged.overall] if judged.learned != "not measured" else _clause(_KEPT_ALONE[judged.overall])
    return f"{learned}, {joint} {kept}: {_clause(judged.reason)}."


def _nothing_to_learn(scores: Sequence[TaskScore]) -> bool:
    """True where the base reaches the best value of every metric of the task, so that no gain can be shown."""
    return bool(scores) and all(score.base == score.metric.best for score in scores)


def _clause(reason: str) -> str:
    """A reason as the second half of a sentence: no capital where it begins with a plain word, no full stop."""
    text = reason.strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def verdict_table(result: Result) -> Table | None:
    """One row a retention suite; null where nothing was judged."""
    if result.judgement is None or not result.judgement.suites:
        return None
    head = ("Suite", "Verdict", "Why", "Change [95%]", "Margin", "p adjusted", "Items", "Units", "Items needed")
    rows = tuple(_verdict_row(verdict, result) for verdict in result.judgement.suites)
    return Table("Verdict on each suite", head, rows, f"{MEANING} {_method_note(result.judgement)}")


def deciding_score(scores: Sequence[KeepScore], verdict: SuiteVerdict) -> KeepScore | None:
    """The score that a verdict was made by; where that metric was not recorded, null."""
    found = [score for score in scores if score.name == verdict.suite and score.metric == verdict.decided_by]
    return found[0] if found else None


def _verdict_row(verdict: SuiteVerdict, result: Result) -> tuple[str, ...]:
    unit = verdict.decided_by.unit
    score = deciding_score(result.keep, verdict)
    items = numbers.count(verdict.n)
    if score is None and verdict.suite == HELD_OUT_TEXT:
        change, interval = result.drift.ce_drift_nats_per_token, result.drift.ce_drift_interval
        items += " windows"
    else:
        change = None if score is None or score.base is None or score.tuned is None else score.tuned - score.base
        interval = None if score is None else score.interval
    return (
        verdict.suite,
        verdict_cell(verdict.verdict),
        verdict.reason + _power_note(verdict, score),
        numbers.change(change, interval, unit),
        numbers.margin(verdict.margin, unit),
        numbers.p_value(verdict.p_adjusted),
        items,
        numbers.count(verdict.units),
        numbers.MISSING if verdict.items_needed is None else numbers.count(verdict.items_needed),
    )


def _power_note(verdict: SuiteVerdict, score: KeepScore | None) -> str:
    if verdict.verdict != "too few items to say" or verdict.has_power:
        return ""  # a loss that was found shows that one can be
    told = _TELLS_POWER.search(verdict.reason) or (score is not None and score.status == "answers cut off")
    if told:
        return ""
    return " Even a chance-level model would not be found out here."


def _method_note(judged: Judgement) -> str:
    return (
        "p adjusted: how easily luck alone makes such a loss, corrected for the number of tests (Holm): a model that "
        f"lost nothing is called lost or changed anywhere in this report with at most {numbers.percent(judged.alpha)} "
        "probability. Units: independent groups of items. Items needed: how many in all would settle it."
    )


def aa_line(result: Result) -> str:
    """The base put to itself, in one sentence; empty where that was not done."""
    check = None if result.judgement is None else result.judgement.aa_check
    if check is None:
        return ""
    asked = f"the base was asked {numbers.count(check.items)} questions twice"
    kl = "" if check.kl_max_nats is None else f", KL at most {numbers.three_digits(check.kl_max_nats)} nats"
    difference = f"largest difference of a score {numbers.three_digits(check.score_difference_max)}{kl}"
    opening = "A/A check passed" if check.passed else "NULL CHECK FAILED, so no verdict here can be trusted"
    note = f" {check.note}" if check.note else ""
    return f"{opening}: {asked}, {numbers.count(check.changed)} scores changed ({difference}).{note}"


def verdict_counts(results: Sequence[Result]) -> Mapping[str, int]:
    """The number of runs with each overall verdict, in the order of `VERDICTS`; unjudged runs are left out."""
    given = [result.judgement.overall for result in results if result.judgement is not None]
    return {verdict: given.count(verdict) for verdict in VERDICTS}
