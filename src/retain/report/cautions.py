"""Cautions to read before a run's figures: how many tests, unlike conditions, a conversion, what only seems gone."""

from __future__ import annotations

from retain.records import numbers
from retain.records.numbers import listing
from retain.records.result import Result


def unlike_conditions(result: Result) -> list[str]:
    """The fields in which the two sides were not measured alike; none where nothing is recorded."""
    return [name.replace("_", " ") for name in result.unlike_conditions]


def cautions(result: Result) -> list[str]:
    """Cautions to read before the figures."""
    tests = sum(score.status == "measured" for score in result.keep)
    found = []
    if tests > 1 and result.judgement is None:
        found.append(f"{tests} keep figures are each tested at the 5% level; no correction is made for their number.")
    elif tests > 1:
        found.append("The verdicts are corrected for the number of tests; the readings of single figures are not.")
    if unlike_conditions(result):
        found.append(f"The two sides were not measured alike: {listing(unlike_conditions(result))} differ.")
    found += [caution for side in result.served.values() for caution in side.cautions]
    if result.acting is not None and result.acting.verdict != "acts":
        found.append(result.acting.sentence)
    found += [*_costs_of_conversion(result), *_only_pushed_aside(result)]
    if result.seed is not None:
        found.append("One run with one seed: the intervals cover the choice of items, not the luck of training.")
    return found


def _only_pushed_aside(result: Result) -> list[str]:
    """A sentence on each suite of what should be gone whose old answer is no less likely, or comes back."""
    found = []
    for score in result.gone:
        if score.old_answer_interval is not None and score.old_answer_interval[1] >= 0 and not score.left:
            found.append(
                f"On {score.name} the old answer is not given, but not shown to be less likely than before either: it "
                "may be pushed aside rather than unknown."
            )
        if score.relearned is not None and score.relearned.left > score.left:
            again = f"{score.relearned.left} of {score.known} answers are right again, of {score.left} before"
            found.append(f"On {score.name}, after {score.relearned.steps} steps on other text, {again}.")
    return found


def _costs_of_conversion(result: Result) -> list[str]:
    """A sentence on each score that the conversion, and not the training, made worse: it lost or brought back."""
    found = []
    for score in () if result.conversion is None else result.conversion.scores:
        is_gone = score.part == "gone"
        step, better = score.conversion, score.metric.higher_is_better != is_gone
        if step.interval is None or (step.interval[1] >= 0 if better else step.interval[0] <= 0):
            continue
        change = numbers.change(step.change, step.interval, score.metric.unit)
        made = "brought back what should be gone" if is_gone else "made worse"
        found.append(f"The conversion itself {made}: {score.name}, {score.metric.title} {change}.")
    return found
