"""Kept, lost, changed format, or too few items to say: the verdict on each suite and on the run, with its reason.

All tests for loss in a report are one family. Where nothing was lost, the probability that any suite is called lost or
changed in format is at most alpha (Holm), whatever the number of suites and however they depend on one another. Passing
is not the absence of an alarm: a suite is kept only if it would have shown a chance-level model, and if the interval of
its loss ends below the non-inferiority margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retain.records.base import Interval
from retain.records.metric import Metric
from retain.records.verdicts import Learned, SuiteVerdict, Verdict
from retain.stats.holm import holm
from retain.stats.mcnemar import SIGNIFICANCE
from retain.stats.planning import items_to_settle, units_to_settle
from retain.verdict import reasons
from retain.verdict.evidence import Evidence
from retain.verdict.status import base_guesses, shows_loss

UNDECIDED: Verdict = "too few items to say"


@dataclass(frozen=True)
class Margins:
    """Effects of interest: the largest losses that still count as kept, the smallest gains that count as learned.

    Attributes:
        share: of metrics with a known range, as a share of that: .05 is five points of a right-or-wrong metric.
        nats: of metrics in nats per token, and of those without a known range.
        gain: smallest effect of interest on the task: a smaller change of a metric with a known range, as a share of
            that, is not noticeable.
        gain_nats: the same of all other metrics.
        gone: the largest share of what the base knew that may be left where it should be gone.
    """

    share: float = 0.05
    nats: float = 0.05
    gain: float = 0.01
    gain_nats: float = 0.01
    gone: float = 0.05

    def of(self, metric: Metric) -> float:
        """The margin in the metric's own unit."""
        return self.nats if metric.span is None else self.share * metric.span

    def smallest_effect(self, metric: Metric) -> float:
        """The smallest noticeable change of the task in the metric's own unit."""
        return self.gain_nats if metric.span is None else self.gain * metric.span


USUAL = Margins()
"""The margins where nobody states any."""


@dataclass(frozen=True)
class SuiteEvidence:
    """The evidence on one suite that should be kept, or on one domain of held-out text.

    Attributes:
        name: of the suite.
        knowledge: by the metric that decides.
        written: by the metric of the written answer's form, where the suite has one.
    """

    name: str
    knowledge: Evidence
    written: Evidence | None = None


@dataclass(frozen=True)
class TaskVerdict:
    """The change of one metric of the task: better ("yes"), worse, not noticeable, or none of these can be said."""

    task: str
    metric: Metric
    learned: Learned
    p_adjusted: float


@dataclass(frozen=True)
class _Family:
    """All tests for loss of a report: their level together, their number, and the margins."""

    alpha: float
    tests: int
    margins: Margins


def judge(suites: Sequence[SuiteEvidence], alpha: float = SIGNIFICANCE, margins: Margins = USUAL) -> list[SuiteVerdict]:
    """The verdict on each suite; first rule that applies.

    1. Most written answers were cut off, or the base guesses: too few items to say (a metric in nats has no worst
       value: there only where it did not get worse all the same).
    2. lost: adjusted p < alpha, the change is for the worse, and the interval agrees (all of it is a loss); of a
       metric in nats, which everything moves a little, only if the interval also reaches beyond `tolerated`.
    3. changed format: the same of the written form, on a suite whose knowledge could be seen to be lost.
    4. kept: a chance-level model would show (at alpha / tests, the least that Holm's rule grants), and the interval of
       the loss ends below `tolerated`.
    5. too few items to say, with how many would do.

    Args:
        suites: every suite and every domain of the report; not the task's own.
        alpha: largest probability of any false alarm in the report.
        margins: losses that still count as kept.
    """
    every = [suite.knowledge for suite in suites] + [suite.written for suite in suites if suite.written]
    adjusted = iter(holm([evidence.p_value for evidence in every]))
    knowledge = [next(adjusted) for _ in suites]
    written = [next(adjusted) if suite.written else 1.0 for suite in suites]
    family = _Family(alpha, len(every), margins)
    return [_judge(*given, family) for given in zip(suites, knowledge, written, strict=True)]


def _judge(suite: SuiteEvidence, p: float, p_written: float, family: _Family) -> SuiteVerdict:
    known, written, limit = suite.knowledge, suite.written, tolerated(suite.knowledge, family.margins)
    shows = shows_loss(known, family.alpha / family.tests)
    changed = written is not None and _moved(written, p_written, family.alpha) == "worse"
    decided, p_decided, needed = known, p, None
    verdict = UNDECIDED
    worse = _moved(known, p, family.alpha) == "worse" and not (shows and _small_drift(known, limit))
    guesses = base_guesses(known) and not known.mostly_cut_off and not (known.uninformed and worse)
    if known.mostly_cut_off:
        reason = reasons.cut_off(known)
    elif guesses:
        reason = reasons.guesses(known)
    elif worse:
        verdict, reason = "lost", reasons.lost(known, p, family.tests)
    elif written is not None and changed and shows:
        verdict, decided, p_decided = "changed format", written, p_written
        reason = reasons.changed_format(known, written, p_written, family.tests)
    elif shows and _within(known, limit):
        verdict, reason = "kept", reasons.kept(known, limit)
    else:
        needed = _needed(known, limit, family)
        reason = reasons.undecided(known, limit, family.alpha, family.tests, needed, shows=shows, changed=changed)
    return SuiteVerdict(
        suite=suite.name,
        verdict=verdict,
        reason=reason,
        decided_by=decided.metric,
        n=decided.n,
        units=decided.units,
        margin=limit,
        has_power=shows and not known.mostly_cut_off,
        p_value=decided.p_value,
        p_adjusted=p_decided,
        items_needed=needed,
        base_guesses=guesses,
    )


def _small_drift(evidence: Evidence, limit: float) -> bool:
    """True where a metric in nats per token is shown to have moved by less than is allowed.

    Any fine-tune moves every probability a little, and a few thousand tokens suffice to see it: such a drift is real,
    and small. A right-or-wrong item that was lost is lost; there the margin makes no loss unsaid.
    """
    return evidence.metric.drifts and _within(evidence, limit)


def _within(evidence: Evidence, limit: float) -> bool:
    """True where the interval of the loss lies below the limit."""
    return evidence.loss_interval is not None and evidence.loss_interval[1] < limit


def tolerated(evidence: Evidence, margins: Margins = USUAL) -> float:
    """The largest loss that counts as kept: the margin, and at most half of what the base has above guessing.

    Without the second, a model that lost all of the two points that its base was above chance would be kept at five.
    """
    margin = margins.of(evidence.metric)
    if evidence.lead is None:
        return margin
    return max(0.0, min(margin, evidence.lead / 2))


def overall(judged: Sequence[SuiteVerdict]) -> tuple[Verdict, str]:
    """The verdict on the run and one sentence that names the suites: the worst of what was found.

    Lost if any suite is; else changed format if any is; else too few items to say if any is undecided or there is no
    suite; else kept. Suites on which the base itself guesses had nothing to lose; they are named and left out.
    """
    idle = [one.suite for one in judged if one.base_guesses]
    note = f" The base itself guesses on {', '.join(idle)}, which can show no loss." if idle else ""
    judged = [one for one in judged if not one.base_guesses]
    if not judged:
        return UNDECIDED, f"There is no suite of what should be kept that could show a loss.{note}"
    order: tuple[tuple[Verdict, str], ...] = (
        ("lost", "Lost on"),
        ("changed format", "The written form changed on"),
        (UNDECIDED, "No loss was found, but it cannot be ruled out on"),
        ("kept", "Kept on"),
    )
    verdict, text = next(row for row in order if any(one.verdict == row[0] for one in judged))
    names = [one.suite for one in judged if one.verdict == verdict]
    return verdict, f"{text} {', '.join(names)} ({len(names)} of {len(judged)}).{note}"


def judge_tasks(
    evidences: Sequence[Evidence], alpha: float = SIGNIFICANCE, margins: Margins = USUAL
) -> list[TaskVerdict]:
    """The change of each metric of the task, by Holm's rule over the task's metrics: a family of their own."""
    adjusted = holm([evidence.p_value for evidence in evidences])
    return [
        TaskVerdict(evidence.suite, evidence.metric, _noticed(evidence, p, alpha, margins), p)
        for evidence, p in zip(evidences, adjusted, strict=True)
    ]


def _noticed(evidence: Evidence, p: float, alpha: float, margins: Margins) -> Learned:
    """The direction of a change of the task, if it is shown and not below the smallest effect of interest."""
    moved, smallest = _moved(evidence, p, alpha), margins.smallest_effect(evidence.metric)
    shown = moved != "not shown"
    return "no noticeable change" if is_negligible(evidence.change, evidence.interval, smallest, shown) else moved


def is_negligible(change: float, interval: Interval | None, smallest: float, shown: bool) -> bool:
    """True where a change is not noticeable: a shown one is smaller than that, or the interval rules out a larger one.

    Args:
        change: tuned − base.
        interval: of it.
        smallest: the smallest noticeable change; 0: every change counts.
        shown: whether it is shown to be one.
    """
    if shown:
        return abs(change) < smallest
    return interval is not None and -smallest < interval[0] <= interval[1] < smallest


def learned(judged: Sequence[TaskVerdict]) -> Learned:
    """The verdict on all metrics together: worse if any got worse, else yes if any got better, else the least known.

    Without either, not shown if that holds of any metric; else no change is noticeable.
    """
    order: tuple[Learned, ...] = ("worse", "yes", "not shown", "no noticeable change")
    found = {one.learned for one in judged}
    return next((word for word in order if word in found), "not measured")


def _moved(evidence: Evidence, p_adjusted: float, alpha: float) -> Learned:
    """The direction of the change, if test and interval both show one."""
    low, high = evidence.loss_interval or (-np.inf, np.inf)
    if p_adjusted >= alpha or low <= 0 <= high:
        return "not shown"
    return "worse" if low > 0 else "yes"


def _needed(evidence: Evidence, limit: float, family: _Family) -> int | None:
    """Items in all that would settle an undecided suite."""
    alpha, tests = family.alpha, family.tests
    if evidence.lost is not None and evidence.gained is not None:
        return items_to_settle(
            evidence.lost,
            evidence.gained,
            evidence.n,
            limit,
            alpha,
            base_right=round(evidence.base * evidence.n),
            chance=evidence.chance or 0.0,
            tests=tests,
            units=evidence.units,
        )
    if evidence.loss_interval is None or not evidence.can_fall:
        return None
    able = evidence.can_fall / evidence.n
    return units_to_settle(evidence.loss, evidence.loss_interval, evidence.n, limit, alpha, tests=tests, able=able)
