"""The verdict on a run from its evidence, and the evidence of a record from its scores and items alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from retain.records.gone_record import GoneScore
from retain.records.items import Item
from retain.records.metrics_table import CROSS_ENTROPY
from retain.records.result import Result
from retain.records.scores import CutOff, KeepScore, TaskScore
from retain.records.verdicts import AACheck, Judgement, SuiteVerdict
from retain.stats.mcnemar import SIGNIFICANCE
from retain.verdict.column import Column, column_of_items
from retain.verdict.evidence import Evidence, evaluate
from retain.verdict.gone import UNDECIDED as NOT_SHOWN
from retain.verdict.gone import GoneEvidence, forgot, judge_gone
from retain.verdict.gone_items import gone_of_items
from retain.verdict.status import status_of
from retain.verdict.verdict import UNDECIDED, Margins, SuiteEvidence, judge, judge_tasks, learned, overall

HELD_OUT_PART, HELD_OUT_TEXT = "held-out", "held-out text"
"""The part of the items of held-out text, and the name of their suite."""


@dataclass(frozen=True)
class RunEvidence:
    """All evidence of a run.

    Attributes:
        task: what was learned, by metric.
        keep: what was kept: of each suite the metric that decides first, then its others.
        held_out: cross-entropy of held-out text, by domain.
        gone: what should be gone, each suite by its metrics.
    """

    task: tuple[Evidence, ...] = ()
    keep: tuple[Evidence, ...] = ()
    held_out: tuple[Evidence, ...] = ()
    gone: tuple[GoneEvidence, ...] = ()


def judge_run(evidence: RunEvidence, margins: Margins, aa_check: AACheck | None = None) -> Judgement:
    """The verdict on one run.

    Args:
        evidence: what was learned and kept.
        margins: losses that still count as kept.
        aa_check: the base compared with itself; a verdict over a base that does not answer alike is no verdict.
    """
    names = dict.fromkeys(one.suite for one in evidence.keep)
    kept = [_suite([one for one in evidence.keep if one.suite == name]) for name in names]
    suites = [*kept, *(SuiteEvidence(one.suite, one) for one in evidence.held_out)]
    judged = judge(suites, SIGNIFICANCE, margins)
    judged = [*map(_scored, judged[: len(kept)], kept), *judged[len(kept) :]]
    verdict, reason = overall(judged)
    gone = judge_gone(evidence.gone, margins.gone)
    forgotten, told = forgot(gone)
    if aa_check is not None and not aa_check.passed:
        verdict, reason = UNDECIDED, f"{aa_check.note} No verdict can rest on that."
        forgotten, told = (forgotten and NOT_SHOWN), (told and reason)
    return Judgement(
        overall=verdict,
        reason=reason,
        learned=learned(judge_tasks(evidence.task, SIGNIFICANCE, margins)),
        suites=tuple(judged),
        gone=gone,
        forgot=forgotten,
        forgot_reason=told,
        alpha=SIGNIFICANCE,
        aa_check=aa_check,
    )


def _suite(evidences: Sequence[Evidence]) -> SuiteEvidence:
    return SuiteEvidence(evidences[0].suite, evidences[0], _written_form(evidences[1:]))


def _written_form(others: Sequence[Evidence]) -> Evidence | None:
    """The metric of the answer's form: the strictest that the base has at least half as often as the loosest.

    Task types list forms from the loosest to the strictest. A base that answers in sentences has no exact form to lose;
    that the right answer stands in them no longer is then what shows another form.
    """
    unusable = ("too few items", "answers cut off")
    forms = [one for one in others if one.metric.role == "format" and status_of(one)[0] not in unusable]
    usual = [one for one in forms if one.base >= forms[0].base / 2]
    return usual[-1] if usual else None


def _scored(verdict: SuiteVerdict, suite: SuiteEvidence) -> SuiteVerdict:
    """The verdict; a suite too small for a score is too small for any."""
    status, note = status_of(suite.knowledge)
    if status != "too few items" or verdict.verdict == UNDECIDED:
        return verdict
    return verdict.model_copy(update={"verdict": UNDECIDED, "reason": note, "has_power": False})


def held_out_columns(items: Sequence[Item]) -> list[Column]:
    """The cross-entropy of held-out text, each domain by itself where there are several."""
    domains: dict[str | None, list[Item]] = defaultdict(list)
    for window in items:
        domains[window.condition].append(window)
    if len(domains) == 1:
        return [column_of_items(HELD_OUT_TEXT, CROSS_ENTROPY, items)]
    return [
        column_of_items(f"{HELD_OUT_TEXT}: {domain or 'other'}", CROSS_ENTROPY, part)
        for domain, part in domains.items()
    ]


def evidence_of_record(
    task: Sequence[TaskScore],
    keep: Sequence[KeepScore],
    items: Iterable[Item],
    seed: int,
    gone: Sequence[GoneScore] = (),
) -> RunEvidence:
    """The evidence of a record's items, by the metrics of its scores.

    Args:
        task: its task scores; those of a set of items, which no item has, are left out.
        keep: its keep scores.
        items: all its items.
        seed: of the resamples that the record was made with.
        gone: its scores of what should be gone.
    """
    parted = _by_suite(items)

    def evidence(part: str, score: TaskScore | KeepScore) -> Evidence:
        chance = getattr(score, "chance", 0.0) if score.metric.right_or_wrong else 0.0
        told = score.cut_off or CutOff(written=0)
        items = parted[part, score.name]
        column = column_of_items(score.name, score.metric, items, chance, told.limit, told.option)
        return evaluate(column, np.random.default_rng(seed))

    windows = parted[HELD_OUT_PART, HELD_OUT_TEXT]
    return RunEvidence(
        tuple(evidence("task", score) for score in task if score.metric.level == "item"),
        tuple(evidence("keep", score) for score in keep),
        tuple(evaluate(column, np.random.default_rng(seed)) for column in held_out_columns(windows)),
        tuple(
            gone_of_items(score, parted["gone", score.name], suites=len({one.name for one in gone})) for score in gone
        ),
    )


def replay(result: Result, items: Sequence[Item]) -> Judgement:
    """The verdict of a record made again from its scores and items, with the margins and seed that it was made with.

    Records before schema 2 that state no margins have them in their verdicts only, as the largest used.
    """
    evidence = evidence_of_record(result.task, result.keep, items, result.resampling_seed, result.gone)
    aa_check = None if result.judgement is None else result.judgement.aa_check
    share, nats = result.margins or _stated_margins(result)
    shares = [one.smallest_effect / one.metric.span for one in result.task if one.metric.span is not None]
    in_nats = [one.smallest_effect for one in result.task if one.metric.span is None]
    gone = Margins().gone if result.gone_margin is None else result.gone_margin
    margins = Margins(share, nats, max(shares, default=0.0), max(in_nats, default=0.0), gone)
    return judge_run(evidence, margins, aa_check)


def _stated_margins(result: Result) -> tuple[float, float]:
    verdicts = [] if result.judgement is None else result.judgement.suites
    shares = [one.margin / one.decided_by.span for one in verdicts if one.decided_by.span is not None]
    nats = [one.margin for one in verdicts if one.decided_by.span is None]
    usual = Margins()
    return max(shares, default=usual.share), max(nats, default=usual.nats)


def disagreements(result: Result, items: Sequence[Item]) -> list[str]:
    """Sentences on means of a record that are not those of its items, and on items without a score."""
    parted = _by_suite(items)
    scores: list[tuple[str, KeepScore | TaskScore | GoneScore]] = [("task", one) for one in result.task]
    scores += [("keep", one) for one in result.keep] + [("gone", one) for one in result.gone]
    unscored = {key for key in parted if key[0] != HELD_OUT_PART} - {(part, score.name) for part, score in scores}
    found = [f"its items of {name} have no score in the record." for _, name in sorted(unscored)]
    for part, score in scores:
        if score.metric.level == "item":
            found += _unlike_means(score, parted[part, score.name])
    return found


def _unlike_means(score: KeepScore | TaskScore | GoneScore, items: Sequence[Item]) -> list[str]:
    having = any(score.metric.name in item.base.scores and score.metric.name in item.tuned.scores for item in items)
    column = column_of_items(score.name, score.metric, items) if having else None
    found = []
    for side in ("base", "tuned"):
        stated = getattr(score, side)
        mean = None if column is None else np.average(getattr(column, side), weights=column.weights)
        if stated is not None and (mean is None or not np.isclose(mean, stated)):
            found.append(f"the record's {score.metric.name} of {score.name}, {side}, is not that of its items.")
    return found


def _by_suite(items: Iterable[Item]) -> dict[tuple[str, str], list[Item]]:
    parted: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        parted[item.part, item.suite].append(item)
    return parted
