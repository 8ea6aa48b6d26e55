"""Kept, lost, changed format, or too few items to say: the verdict on each suite and on the whole, with its reason.

All tests for loss in a report are one family. Where nothing was lost, the probability that any suite is called lost or
changed in format is at most alpha (Holm), whatever the number of suites and however they depend on one another. Passing
is not the absence of an alarm: a suite is kept only if it would have shown a chance-level model, and if the interval of
its change ends above the allowed loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retain.records.verdicts import Learned, Verdict
from retain.stats.holm import holm
from retain.stats.mcnemar import SIGNIFICANCE
from retain.stats.power import fewest_units, has_power, items_needed, units_needed
from retain.stats.retention import above_chance
from retain.verdict import reasons
from retain.verdict.evidence import Evidence


@dataclass(frozen=True)
class Suite:
    """What is known of one suite that should be kept, or of one domain of held-out text.

    Attributes:
        name: of the suite.
        knowledge: the metric that decides.
        written: strict match of the written answer, where the suite has one: its format.
    """

    name: str
    knowledge: Evidence
    written: Evidence | None = None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The verdict on one suite.

    Attributes:
        suite: its name.
        verdict: one of four.
        reason: one sentence with figures.
        decided_by: the metric that decided.
        n: items.
        units: independent units, see `Evidence`.
        margin: largest loss that counted as kept, see `allowed`.
        has_power: whether a chance-level model would have been found out.
        p_value: of the deciding metric.
        p_adjusted: the same by Holm's rule over the report.
        items_needed: items in all that would settle an undecided suite; None if not undecided, or no number would.
        guesses: whether the base itself guesses, so that there was nothing to lose.
    """

    suite: str
    verdict: Verdict
    reason: str
    decided_by: str
    n: int
    units: int
    margin: float
    has_power: bool
    p_value: float
    p_adjusted: float
    items_needed: int | None = None
    guesses: bool = False


@dataclass(frozen=True)
class JudgedTask:
    """Whether one metric of the task got better ("yes"), worse, or neither can be said."""

    task: str
    metric: str
    learned: Learned
    p_adjusted: float


def judge(suites: Sequence[Suite], alpha: float = SIGNIFICANCE) -> list[Judged]:
    """The verdict on each suite; first rule that applies.

    1. The base guesses: too few items to say.
    2. lost: adjusted p < alpha, the change is for the worse, and the interval agrees (its upper end is below 0); of a
       metric in nats, which everything moves a little, only if the interval also reaches beyond `allowed`.
    3. changed format: the same of the written form, on a suite whose knowledge could be seen to be lost.
    4. kept: a chance-level model would show (at alpha / tests, the least that Holm's rule grants), and the lower end of
       the interval is above −`allowed`.
    5. too few items to say, with how many would do.

    Args:
        suites: every suite and every domain of the report; not the task's own.
        alpha: largest probability of any false alarm in the report.
    """
    every = [suite.knowledge for suite in suites] + [suite.written for suite in suites if suite.written]
    adjusted = iter(holm([evidence.p_value for evidence in every]))
    knowledge = [next(adjusted) for _ in suites]
    written = [next(adjusted) if suite.written else 1.0 for suite in suites]
    family = _Family(alpha, len(every))
    return [_judge(*given, family) for given in zip(suites, knowledge, written, strict=True)]


@dataclass(frozen=True)
class _Family:
    alpha: float
    tests: int


def _judge(suite: Suite, p: float, p_written: float, family: _Family) -> Judged:
    known, written, limit = suite.knowledge, suite.written, tolerated(suite.knowledge)
    shows = shows_loss(known, family.alpha / family.tests)
    changed = written is not None and _moved(written, p_written, family.alpha) == "worse"
    decided, p_decided, needed = known, p, None
    verdict: Verdict = "too few items to say"
    if base_guesses(known):
        reason = reasons.guesses(known)
    elif _moved(known, p, family.alpha) == "worse" and not (shows and _small_drift(known, limit)):
        verdict, reason = "lost", reasons.lost(known, p, family.tests)
    elif written is not None and changed and shows:
        verdict, decided, p_decided = "changed format", written, p_written
        reason = reasons.changed_format(known, written, p_written, family.tests)
    elif shows and known.interval is not None and known.interval[0] > -limit:
        verdict, reason = "kept", reasons.kept(known, limit)
    else:
        needed = _needed(known, limit, family)
        reason = reasons.undecided(known, limit, family.alpha, family.tests, needed, shows=shows, changed=changed)
    return Judged(
        suite=suite.name,
        verdict=verdict,
        reason=reason,
        decided_by=decided.metric,
        n=decided.n,
        units=decided.units,
        margin=limit,
        has_power=shows,
        p_value=decided.p_value,
        p_adjusted=p_decided,
        items_needed=needed,
        guesses=base_guesses(known),
    )


def _small_drift(evidence: Evidence, limit: float) -> bool:
    """Whether a metric in nats per token is shown to have moved by less than is allowed.

    Any fine-tune moves every probability a little, and a few thousand tokens suffice to see it: such a drift is real,
    and small. A right-or-wrong item that was lost is lost; there the margin makes no loss unsaid.
    """
    return evidence.drifts and evidence.interval is not None and evidence.interval[0] > -limit


def tolerated(evidence: Evidence) -> float:
    """The largest loss that counts as kept: the margin, and at most half of what the base has above guessing.

    Without the second, a model that lost all of the two points that its base was above chance would be kept at five.
    """
    if evidence.chance is None:
        return evidence.margin
    return max(0.0, min(evidence.margin, (evidence.base - evidence.chance) / 2))


def base_guesses(evidence: Evidence) -> bool:
    """Whether the base is not seen to be better than a model that knows nothing, so that there is nothing to lose."""
    if evidence.chance is None:
        return False
    if not evidence.right_or_wrong:
        return evidence.can_fall == 0
    return not above_chance(np.arange(evidence.units) < int(evidence.base * evidence.units + 1e-9), evidence.chance)


def shows_loss(evidence: Evidence, alpha: float) -> bool:
    """Whether a chance-level model would be called lost at level alpha: see `has_power` and `fewest_units`."""
    if evidence.right_or_wrong and evidence.chance is not None:
        right = round(evidence.base * evidence.n)
        return has_power(right, evidence.n, evidence.chance, alpha, units=evidence.units)
    return min(evidence.units, evidence.can_fall) >= fewest_units(alpha)


def overall(judged: Sequence[Judged]) -> tuple[Verdict, str]:
    """The verdict on the whole and one sentence that names the suites: the worst of what was found.

    Lost if any suite is; else changed format if any is; else too few items to say if any is undecided or there is no
    suite; else kept. Suites on which the base itself guesses had nothing to lose; they are named and left out.
    """
    idle = [one.suite for one in judged if one.guesses]
    told = f" The base itself guesses on {', '.join(idle)}, which can show no loss." if idle else ""
    judged = [one for one in judged if not one.guesses]
    if not judged:
        return "too few items to say", f"There is no suite of what should be kept that could show a loss.{told}"
    order: tuple[tuple[Verdict, str], ...] = (
        ("lost", "Lost on"),
        ("changed format", "The written form changed on"),
        ("too few items to say", "No loss was found, but it cannot be ruled out on"),
        ("kept", "Kept on"),
    )
    verdict, text = next(row for row in order if any(one.verdict == row[0] for one in judged))
    names = [one.suite for one in judged if one.verdict == verdict]
    return verdict, f"{text} {', '.join(names)} ({len(names)} of {len(judged)}).{told}"


def judge_tasks(evidences: Sequence[Evidence], alpha: float = SIGNIFICANCE) -> list[JudgedTask]:
    """Whether each metric of the task moved, by Holm's rule over the task's metrics: a family of their own."""
    adjusted = holm([evidence.p_value for evidence in evidences])
    return [
        JudgedTask(evidence.name, evidence.metric, _moved(evidence, p, alpha), p)
        for evidence, p in zip(evidences, adjusted, strict=True)
    ]


def learned(judged: Sequence[JudgedTask]) -> Learned:
    """Of all metrics together: worse if any got worse, else yes if any got better, else not shown."""
    found = {one.learned for one in judged}
    if not found:
        return "not measured"
    return "worse" if "worse" in found else "yes" if "yes" in found else "not shown"


def _moved(evidence: Evidence, p_adjusted: float, alpha: float) -> Learned:
    """Which way, if test and interval both say so."""
    low, high = evidence.interval or (-np.inf, np.inf)
    if p_adjusted >= alpha or low <= 0 <= high:
        return "not shown"
    return "yes" if low > 0 else "worse"


def _needed(evidence: Evidence, limit: float, family: _Family) -> int | None:
    alpha, tests = family.alpha, family.tests
    if evidence.lost is not None and evidence.gained is not None:
        return items_needed(
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
    if evidence.interval is None or not evidence.can_fall:
        return None
    able = evidence.can_fall / evidence.n
    return units_needed(evidence.change, evidence.interval, evidence.n, limit, alpha, tests=tests, able=able)
