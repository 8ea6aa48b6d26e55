"""Gone, still there, only refused, or too few items to say: the verdict on what a model was made to forget.

The claim that needs evidence is *gone*: that no more than the margin is left of what the base knew. All such claims of
a report are one family (Holm): where on some suites more than the margin is left, the probability that any of these is
called gone is at most alpha. The same holds for *still there* of suites where no more than the margin is left.

An answer that declines ("I cannot say"), or an empty one, is not evidence that the knowledge is gone. It counts as left
for *gone*; where the margin is met only if it counts as gone, the verdict is *only refused*. An answer that was cut off
before the old one stood in it counts as left for both: nobody knows how it would have gone on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retain.records.gone_record import Forgotten, GoneVerdict
from retain.records.metric import Metric
from retain.records.scores import CutOff
from retain.stats.clusters import cluster_codes
from retain.stats.holm import holm
from retain.stats.mcnemar import SIGNIFICANCE
from retain.stats.planning import SURE_TO_SHOW
from retain.stats.remaining import (
    Remaining,
    fewest_groups_to_show_gone,
    fewest_to_show_gone,
    items_to_decide,
    power_to_show_gone,
)
from retain.stats.retention import above_chance
from retain.verdict import gone_reasons as reasons
from retain.verdict.column import Column

UNDECIDED: Forgotten = "too few items to say"

ORDER: tuple[Forgotten, ...] = ("still there", "only refused", UNDECIDED, "gone")
"""Verdicts from the worst to the best."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class GoneEvidence:
    """One metric on one suite of what should be gone.

    Attributes:
        suite: its name.
        metric: the metric.
        n: items.
        units: independent units among the items that the base has right, rounded down.
        base: the base's share of right items.
        tuned: the tuned model's.
        remaining: what is left, as far as answers show it.
        read: the same, an answer that was cut off counting as left.
        withheld: the same, an answer that declines and an empty one counting as left, too.
        declined: of the items that the base has right those that the tuned model declines to answer; None where
            nothing is written.
        silent: likewise those that it answers with nothing.
        unfinished: likewise those whose answer was cut off before the old one stood in it.
        cut_off: written answers that the longest length ended.
    """

    suite: str
    metric: Metric
    n: int
    units: int
    base: float
    tuned: float
    remaining: Remaining
    read: Remaining
    withheld: Remaining
    declined: int | None = None
    silent: int | None = None
    unfinished: int = 0
    cut_off: CutOff | None = None

    @property
    def known(self) -> int:
        """Items that the base has right."""
        return self.remaining.n_known

    @property
    def left(self) -> int:
        """Of these, items that the tuned model has right, too."""
        return self.remaining.n_left

    @property
    def base_guesses(self) -> bool:
        """True where the base is not seen to be better than guessing, so that there is nothing to be gone."""
        if not self.known:
            return True
        share = self.units / self.known
        right, n = int(self.known * share + 1e-9), max(1, int(self.n * share + 1e-9))
        return not above_chance(min(right, n), n, self.remaining.chance)

    @property
    def mostly_cut_off(self) -> bool:
        """True where most answers of a side were cut off before their score was known."""
        return self.cut_off is not None and self.cut_off.mostly


def gone_evidence(
    column: Column,
    declined: Flags | None = None,
    silent: Flags | None = None,
    unfinished: Flags | None = None,
    *,
    suites: int = 1,
) -> GoneEvidence:
    """The evidence of a column on how much of what the base knew is left.

    Args:
        column: right or wrong, before and after; its chance is that of pure guessing.
        declined: (n,) whether the tuned model declines to answer; None where nothing is written.
        silent: (n,) whether it answers with nothing.
        unfinished: (n,) whether its answer was cut off.
        suites: of this kind in the report.
    """
    base, tuned = column.base == 1, column.tuned == 1
    nothing = np.zeros_like(base)
    refused, empty, cut = (nothing if flags is None else flags for flags in (declined, silent, unfinished))
    codes = cluster_codes(column.groups, len(base))
    items, known = np.bincount(codes), np.bincount(codes[base], minlength=int(codes.max()) + 1)

    def remaining(right: Flags) -> Remaining:
        left = np.bincount(codes[base & right], minlength=len(items))
        return Remaining(items, known, left, column.chance, SIGNIFICANCE / max(1, suites))

    found = remaining(tuned)
    written = declined is not None
    return GoneEvidence(
        suite=column.suite,
        metric=column.metric,
        n=len(base),
        units=int(found.units + 1e-9),
        base=float(base.mean()),
        tuned=float(tuned.mean()),
        remaining=found,
        read=remaining(tuned | cut),
        withheld=remaining(tuned | cut | refused | empty),
        declined=int((base & ~tuned & refused).sum()) if written else None,
        silent=int((base & ~tuned & empty & ~refused).sum()) if written else None,
        unfinished=int((base & ~tuned & cut).sum()),
        cut_off=column.cut_off,
    )


@dataclass(frozen=True)
class _Suite:
    """The evidences on one suite, and the p-values of its three claims; of "gone" that of the metric that has most."""

    evidences: tuple[GoneEvidence, ...]
    margin: float

    @property
    def known(self) -> tuple[GoneEvidence, ...]:
        """The metrics by which the base knows something, all where it does by none."""
        return tuple(one for one in self.evidences if not one.base_guesses) or self.evidences

    @property
    def decided(self) -> GoneEvidence:
        """The metric by which most is left."""
        return max(self.known, key=lambda one: (one.withheld.p_gone(self.margin), one.read.p_gone(self.margin)))

    @property
    def p_gone(self) -> float:
        return self.decided.withheld.p_gone(self.margin)

    @property
    def p_gone_or_refused(self) -> float:
        return max(one.read.p_gone(self.margin) for one in self.known)

    @property
    def p_still(self) -> float:
        return min(1.0, len(self.known) * min(one.remaining.p_still(self.margin) for one in self.known))


def judge_gone(
    evidences: Sequence[GoneEvidence], margin: float, alpha: float = SIGNIFICANCE
) -> tuple[GoneVerdict, ...]:
    """The verdict on each suite of what should be gone; first rule that applies.

    1. Most written answers were cut off, or the base did not know: too few items to say.
    2. gone: adjusted p < alpha for "the margin or more is left", answers that decline or are empty counting as left.
    3. only refused: the same if they do not count as left.
    4. still there: adjusted p < alpha for "the margin or less is left".
    5. too few items to say, with how many would do.

    A suite with several metrics is gone if it is by each (so no correction is due), and still there if it is by one
    (Bonferroni).

    Args:
        evidences: of all suites; those of one suite are its metrics.
        margin: the largest share of what the base knew that counts as gone, in (0, 1).
        alpha: largest probability of any false claim of one kind in the report.
    """
    names = dict.fromkeys(one.suite for one in evidences)
    suites = [_Suite(tuple(one for one in evidences if one.suite == name), margin) for name in names]
    adjusted = [holm(p) for p in zip(*((s.p_gone, s.p_gone_or_refused, s.p_still) for s in suites), strict=True)]
    return tuple(_judge(suite, p, margin, alpha, len(suites)) for suite, *p in zip(suites, *adjusted, strict=True))


def _judge(suite: _Suite, adjusted: Sequence[float], margin: float, alpha: float, tests: int) -> GoneVerdict:
    one, (gone, or_refused, still) = suite.decided, adjusted
    level = alpha * suite.p_gone / gone if 0 < gone < 1 else alpha / tests
    bound, needed = one.withheld.bound(level), None
    guesses = one.base_guesses and not one.mostly_cut_off
    verdict = UNDECIDED
    shows = shows_gone(one, margin, alpha / tests)
    if one.mostly_cut_off:
        reason = reasons.cut_off(one.cut_off)
    elif guesses:
        reason = reasons.unknown_to_base(one.known, one.n, one.remaining.chance)
    elif gone < alpha:
        verdict, reason = "gone", reasons.gone(_told(one), bound, margin, tests)
    elif or_refused < alpha:
        verdict, reason = "only refused", reasons.only_refused(_told(one), margin)
    elif still < alpha:
        verdict, reason = "still there", reasons.still_there(_told(one), margin)
    else:
        way = _way_out(one, margin)
        needed = None if way is None else items_to_decide(way, margin, level)
        fewest = None if shows else fewest_known(one, margin, alpha / tests)
        stuck = one.unfinished if way is None else 0
        reason = reasons.undecided(_told(one), bound, margin, needed, fewest, stuck=stuck)
    return GoneVerdict(
        suite=one.suite, verdict=verdict, reason=reason, decided_by=one.metric, n=one.n, known=one.known,
        units=one.units, margin=margin, has_power=shows and not one.mostly_cut_off, share=one.remaining.share,
        bound=bound, p_value=suite.p_gone, p_adjusted=gone, items_needed=needed, base_guesses=guesses,
    )  # fmt: skip


def _way_out(one: GoneEvidence, margin: float) -> Remaining | None:
    """What more items would show: gone, only refused or still there; None where answers that were cut off hide it."""
    shares = (one.withheld.share, one.read.share, one.remaining.share)
    if None in shares or one.withheld.share < margin:  # type: ignore[operator]  # the first half has ruled None out
        return one.withheld
    if one.read.share < margin:  # type: ignore[operator]  # likewise
        return one.read
    return one.remaining if one.remaining.share >= margin else None  # type: ignore[operator]  # likewise


def _told(one: GoneEvidence) -> reasons.Counted:
    words = {"declined": one.declined, "left empty": one.silent, "cut off": one.unfinished}
    return reasons.Counted(one.known, one.left, one.remaining.share, one.remaining.chance, words)


def shows_gone(evidence: GoneEvidence, margin: float, alpha: float) -> bool:
    """True where a model that knows nothing would be called gone with a probability of `SURE_TO_SHOW` or more."""
    remaining = evidence.remaining
    if not remaining.alone:
        fewest = fewest_known(evidence, margin, alpha)
        return fewest is not None and evidence.units >= fewest
    chance, accuracy = remaining.chance, remaining.lowest_accuracy
    power = power_to_show_gone(evidence.known, margin, alpha, chance=chance, accuracy=accuracy)
    return power >= SURE_TO_SHOW


def fewest_known(evidence: GoneEvidence, margin: float, alpha: float) -> int | None:
    """The fewest known items, or groups of them, with which a model that knows nothing would be called gone."""
    remaining = evidence.remaining
    if not remaining.alone and not remaining.chance:
        return fewest_groups_to_show_gone(margin, alpha)
    return fewest_to_show_gone(margin, alpha, chance=remaining.chance, accuracy=remaining.lowest_accuracy)


def forgot(judged: Sequence[GoneVerdict]) -> tuple[Forgotten | None, str]:
    """The verdict on all suites of what should be gone together, the worst, and a sentence; None without any."""
    if not judged:
        return None, ""
    verdict = next(word for word in ORDER if any(one.verdict == word for one in judged))
    names = [one.suite for one in judged if one.verdict == verdict]
    text = {
        "gone": "Gone within the margin, in the wordings asked:",
        "still there": "Still there:",
        "only refused": "Only refused, which does not show that it is gone:",
        UNDECIDED: "Too few items to say whether it is gone:",
    }[verdict]
    return verdict, f"{text} {', '.join(names)} ({len(names)} of {len(judged)})."
