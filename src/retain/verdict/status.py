"""The power of a suite: whether it is large enough to be scored, and whether its base has anything to lose."""

from __future__ import annotations

from retain.records.scores import Status
from retain.stats.mcnemar import detectable_loss
from retain.stats.planning import fewest_units, has_power
from retain.stats.retention import above_chance
from retain.verdict.evidence import Evidence

LARGEST_BLIND_LOSS = 0.25
"""A suite on which a loss smaller than this could never be called significant is scored; others are too small."""

MINIMUM_ITEMS = 24
"""The fewest items for which `detectable_loss` is not above `LARGEST_BLIND_LOSS`: 6 of 24."""


def status_of(evidence: Evidence) -> tuple[Status, str]:
    """The status of a retention suite, and a sentence that says why it has no score.

    "too few items" where the smallest loss that could show is unknown or above 25 % (n < 24), without scores; "answers
    cut off" where most written answers of a side were, so that they tell nothing yet, and "base at chance" where a
    right-or-wrong base is not significantly above guessing, both with scores but without retention; else "measured".
    """
    detectable = detectable_loss(evidence.groups)
    if detectable is None or detectable > LARGEST_BLIND_LOSS:
        shown = "no loss at all" if detectable is None else f"no loss below {detectable:.0%}"
        note = f"{evidence.groups} items could show {shown} to be more than chance; give at least {MINIMUM_ITEMS}."
        return "too few items", note
    if evidence.cut_off is not None and evidence.cut_off.mostly:
        return "answers cut off", evidence.cut_off.sentence
    if evidence.uninformed:
        return "base at chance", (
            f"The base's {evidence.metric.title} of {evidence.base:.3g} is no better than that of a model that "
            "predicts the same wherever it stands: this suite cannot show loss."
        )
    if evidence.metric.right_or_wrong and base_guesses(evidence):
        right, chance = round(evidence.base * evidence.n), evidence.chance or 0.0
        return "base at chance", (
            f"The base is right on {right} of {evidence.n} items, and {chance:.0%} can be had without reading the "
            "questions (by guessing, or by one answer to all): this suite cannot show loss."
        )
    return "measured", ""


def base_guesses(evidence: Evidence) -> bool:
    """True where the base is not seen to be better than a model that knows nothing: it has nothing to lose."""
    if evidence.chance is None:
        return evidence.uninformed
    if not evidence.metric.right_or_wrong:
        return evidence.can_fall == 0
    return not above_chance(int(evidence.base * evidence.units + 1e-9), evidence.units, evidence.chance)


def shows_loss(evidence: Evidence, alpha: float) -> bool:
    """True where a chance-level model would be called lost at level alpha: see `has_power` and `fewest_units`."""
    if evidence.metric.right_or_wrong and evidence.chance is not None:
        right = round(evidence.base * evidence.n)
        return has_power(right, evidence.n, evidence.chance, alpha, units=evidence.units)
    return min(evidence.units, evidence.can_fall) >= fewest_units(alpha)
