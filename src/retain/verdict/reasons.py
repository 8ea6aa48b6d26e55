"""The reason of a verdict, in one plain sentence with figures."""

from __future__ import annotations

from retain.records.numbers import HUNDREDTHS, MINUS, POINTS
from retain.stats.planning import MOST_ITEMS, SURE_TO_SHOW, chance_level_power, fewest_units
from retain.verdict.evidence import Evidence


def lost(evidence: Evidence, p_adjusted: float, tests: int) -> str:
    """A loss, with the figures that chance does not explain."""
    counts = "" if evidence.lost is None else f", {evidence.lost} of {evidence.n} lost and {evidence.gained} gained"
    family = f" after allowing for {tests} tests" if tests > 1 else ""
    p = "p < 0.0001" if p_adjusted < 0.0001 else f"p = {p_adjusted:.2g}"
    return (
        f"{change(evidence)}{counts} of {evidence.n}, {p}{family}." if counts else f"{change(evidence)}, {p}{family}."
    )


def changed_format(knowledge: Evidence, written: Evidence, p_adjusted: float, tests: int) -> str:
    """The written form was lost and the knowledge not seen to be."""
    return (
        f"what it knows is not shown to be lost ({change(knowledge)}), but how it writes the answer is: "
        f"{lost(written, p_adjusted, tests)}"
    )


def kept(evidence: Evidence, limit: float) -> str:
    """The loss that can be ruled out."""
    return f"a loss of more than {amount(evidence, limit)} can be ruled out: {change(evidence)}."


def guesses(evidence: Evidence) -> str:
    """The figures of a base that guesses, so that there is nothing to lose."""
    if evidence.uninformed:
        return "cannot show loss: the base itself is no better than a model that predicts the same wherever it stands."
    if not evidence.metric.right_or_wrong:
        return "cannot show loss: the base itself scores no better than a model that knows nothing."
    right, chance = round(evidence.base * evidence.n), evidence.chance or 0.0
    return (
        f"cannot show loss: the base itself guesses ({right} of {evidence.n} right; {chance:.0%} can be had without "
        "reading the questions)."
    )


def cut_off(evidence: Evidence) -> str:
    """The answers that were cut off, and what to raise; nothing is said of a model whose answers did not end."""
    counted = "" if evidence.cut_off is None else evidence.cut_off.sentence
    return f"no verdict, because the answers are not whole: {counted}"


def undecided(
    evidence: Evidence, limit: float, alpha: float, tests: int, needed: int | None, *, shows: bool, changed: bool
) -> str:
    """The obstacle to calling a suite kept, and the number of items that would settle it."""
    if not evidence.scaled:
        return f"the range of {evidence.metric.name} is not known, so no loss can be called small."
    found = _reach(evidence, limit) if shows else _blind(evidence, alpha / tests)
    if changed:
        found += "; how it writes the answer did change"
    more = f"about {needed:,} items in all" if needed else f"more than {MOST_ITEMS:,} items"
    return f"{found}; {more} would settle it."


def _reach(evidence: Evidence, limit: float) -> str:
    return f"a loss of more than {amount(evidence, limit)} cannot be ruled out: {change(evidence)}"


def _blind(evidence: Evidence, alpha: float) -> str:
    """Not even a chance-level model would show."""
    apart = f" ({evidence.units} that stand alone)" if evidence.units < evidence.n else ""
    items = f"{evidence.n} items{apart}"
    if not evidence.metric.right_or_wrong:
        able = min(evidence.units, evidence.can_fall)
        return f"{items} are too few to show any loss: {able} can fall, {fewest_units(alpha)} would have to"
    share, chance = evidence.units / evidence.n, evidence.chance or 0.0
    right = int(evidence.base * evidence.n * share + 1e-9)
    power = chance_level_power(right, evidence.units, chance, alpha)
    return (
        f"{items}, of which the base has {evidence.base:.0%} right and guessing would have {chance:.0%}, would show "
        f"even a chance-level model with a probability of only {power:.2f} ({SURE_TO_SHOW} is asked)"
    )


def change(evidence: Evidence) -> str:
    """The change and its interval; of graded items, where less may be better, as the improvement that it is."""
    word = "change" if evidence.metric.right_or_wrong else "improvement"
    text = f"{word} {amount(evidence, 0.0 - evidence.loss, sign='+')}"
    if evidence.loss_interval is None:
        return text
    high, low = (amount(evidence, 0.0 - end, sign="+", unit=False) for end in evidence.loss_interval)
    return f"{text}, 95% interval {low} to {high}"


def amount(evidence: Evidence, value: float, *, sign: str = "", unit: bool = True) -> str:
    """A change in the unit that the metric is shown in; three digits where that is no share and not out of 100."""
    shown = evidence.metric.unit
    if shown in {POINTS, HUNDREDTHS}:
        figure, named = f"{shown.factor * value:{sign}.1f}", shown.name
    else:
        figure, named = f"{value:{sign}.3g}", shown.name or f"in {evidence.metric.title}"
    return figure.replace("-", MINUS) + (f" {named}" if unit else "")
