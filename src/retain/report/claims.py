"""Claims about a run in plain words, each with its figure, its interval and its number of items.

An interval that includes zero is "no change shown", never a proof that nothing was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from retain.compare.pick import model_name
from retain.records import numbers
from retain.records.base import Interval
from retain.records.drift_record import Drift
from retain.records.gone_record import GoneScore
from retain.records.metric import Metric
from retain.records.numbers import listing
from retain.records.result import Result
from retain.records.scores import KeepScore, TaskScore
from retain.verdict.verdict import is_negligible

Reading = Literal[
    "better",
    "worse",
    "no change shown",
    "no noticeable change",
    "borderline",
    "too few items",
    "base at chance",
    "answers cut off",
    "drift",
]

SIGNIFICANT = 0.05

SYMBOLS: dict[str, str] = {
    "better": "▲",
    "worse": "▼",
    "no change shown": "=",
    "no noticeable change": "≈",
    "borderline": "?",
    "too few items": "·",
    "base at chance": "·",
    "answers cut off": "·",
    "drift": "~",
}


_UNKNOWN_LOSS = {
    False: "No retention suite was measured, so nothing is known about what it lost.",
    True: "So nothing is known about what it lost.",
}


@dataclass(frozen=True)
class Claim:
    """One sentence or two, with what they amount to."""

    reading: Reading
    text: str


def read_change(
    interval: Interval | None,
    *,
    higher_is_better: bool,
    p: float | None = None,
    change: float | None = None,
    smallest: float = 0.0,
) -> Reading:
    """The reading of a change: shown by the interval, and not contradicted by the exact test where there is one.

    Args:
        interval: of the change.
        higher_is_better: the good direction.
        p: of the exact test, if there is one.
        change: the change itself, where a smallest noticeable one is given.
        smallest: the smallest noticeable change.
    """
    if interval is None:
        return "no change shown"
    low, high = interval
    shown = low > 0 or high < 0
    if change is not None and is_negligible(change, interval, smallest, shown):
        return "no noticeable change"
    if p is not None and (p < SIGNIFICANT) != shown:
        return "borderline"
    if not shown:
        return "no change shown"
    return "better" if (low > 0) == higher_is_better else "worse"


def read_task(score: TaskScore) -> Reading:
    """The reading of a task score."""
    return read_change(
        score.interval,
        higher_is_better=score.metric.higher_is_better,
        change=score.tuned - score.base,
        smallest=score.smallest_effect,
    )


def read_keep(score: KeepScore) -> Reading:
    """The reading of a score on a retention suite."""
    if score.status != "measured":
        return score.status
    return read_change(score.interval, higher_is_better=score.metric.higher_is_better, p=score.p_value)


def headline(result: Result) -> str:
    """The run in one line: what it learned, what it lost, what cannot be said."""
    learned = _by_reading(list(zip(map(read_task, result.task), short_names(result.task), strict=True)))
    kept = _by_reading(list(zip(map(read_keep, result.keep), short_names(result.keep), strict=True)))
    parts = [
        _phrase("It learned {}.", learned, "better"),
        _phrase("No noticeable change in {}.", learned, "no noticeable change"),
        _phrase("No change shown in {}.", learned, "no change shown"),
        _phrase("It got worse at {}.", learned, "worse"),
        "" if result.task else "No task was measured.",
        _phrase("It lost on {}.", kept, "worse"),
        _phrase("It gained on {}.", kept, "better"),
        _phrase("No change shown on {}.", kept, "no change shown"),
        _phrase("Borderline on {}.", kept, "borderline"),
        _phrase("Too few items to judge: {}.", kept, "too few items"),
        _phrase("The base is at chance, so no loss can show, on {}.", kept, "base at chance"),
        _phrase("Most answers were cut off, so nothing can be said, on {}.", kept, "answers cut off"),
        ""
        if kept.keys() - {"too few items", "base at chance", "answers cut off"}
        else _UNKNOWN_LOSS[bool(result.keep)],
    ]
    return " ".join(part for part in parts if part)


def short_names(scores: Sequence[TaskScore | KeepScore]) -> list[str]:
    """The scores' names, each with its metric where one name has several."""
    names = [score.name for score in scores]
    return [f"{score.name} ({score.metric.title})" if names.count(score.name) > 1 else score.name for score in scores]


def _by_reading(found: Sequence[tuple[Reading, str]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for reading, name in found:
        if name not in names.setdefault(reading, []):
            names[reading].append(name)
    return names


def _phrase(pattern: str, names: dict[str, list[str]], reading: str) -> str:
    return pattern.format(listing(names[reading])) if reading in names else ""


def subtitle(result: Result) -> str:
    """A run's identity in a line: method, learning rate, seed, model."""
    parts = [result.method.name]
    if result.learning_rate is not None:
        parts.append(f"learning rate {numbers.learning_rate(result.learning_rate)}")
    if result.seed is not None:
        parts.append(f"seed {result.seed}")
    return f"{', '.join(parts)}, on {model_name(result.model)}"


def claims(result: Result) -> list[Claim]:
    """Everything that the run shows, in sentences."""
    found = [_task_claim(score) for score in result.task] + [_keep_claim(score) for score in result.keep]
    found += [_gone_claim(score) for score in result.gone]
    return found + drift_claims(result.drift)


def _moved(base: float, tuned: float, interval: Interval | None, metric: Metric) -> str:
    unit = metric.unit
    change = numbers.change(tuned - base, interval, unit)
    towards = f"{numbers.plain(base, unit)} → {numbers.plain(tuned, unit)}"
    return f"{metric.title} {towards}, a change of {change} {unit.name}".rstrip()


def _task_claim(score: TaskScore) -> Claim:
    reading = read_task(score)
    opening = {
        "better": "It learned the task",
        "worse": "It got worse at the task",
        "no noticeable change": "No noticeable change on",
    }.get(reading, "No change shown on")
    direction = "" if score.metric.higher_is_better else " (lower is better)"
    moved = _moved(score.base, score.tuned, score.interval, score.metric)
    return Claim(reading, f"{opening} {score.name}: {moved}{direction}, n = {numbers.count(score.n)}.")


def _keep_claim(score: KeepScore) -> Claim:
    reading = read_keep(score)
    note = f" {score.note}" if score.note else ""
    n = f"n = {numbers.count(score.n)}"
    if reading == "too few items":
        return Claim(reading, f"{score.name} has too few items ({n}) and is not scored.{note}")
    unit = score.metric.unit
    if score.base is None or score.tuned is None:
        return Claim(reading, f"{score.name} was not scored ({n}).{note}")
    moved = _moved(score.base, score.tuned, score.interval, score.metric)
    if reading == "base at chance":
        chance = numbers.plain(score.chance, unit)
        text = f"On {score.name} the base is no better than chance ({chance}): {moved}, {n}."
        return Claim(reading, text + (note or " So this suite cannot show a loss."))
    if reading == "answers cut off":
        return Claim(
            reading, f"On {score.name} most answers were cut off, so no change can be told: {moved}, {n}.{note}"
        )
    opening = {
        "worse": "It lost on",
        "better": "It gained on",
        "borderline": "Borderline on",
        "no change shown": "No change shown on",
    }[reading]
    sentences = [f"{opening} {score.name}: {moved}, {n}.", _paired(score), _limits(score, reading)]
    return Claim(reading, " ".join(part for part in sentences if part) + note)


def _gone_claim(score: GoneScore) -> Claim:
    """What is left of what the base knew; whether that is good is the verdict's to say."""
    n = f"n = {numbers.count(score.n)}"
    if score.bound is None or score.share is None:
        return Claim("base at chance", f"On {score.name} the base itself does not know ({n}), so nothing can be gone.")
    counted = f"of {score.known} items that the base has right {score.left} are still right"
    others = (
        (score.declined, "are declined"),
        (score.silent, "are left empty"),
        (score.otherwise, "get another answer"),
    )
    told = "".join(f", {number} {words}" for number, words in others if number)
    left = f"{numbers.percent(score.share)} of what it knew is left, at most {numbers.percent(score.bound)} (95%)"
    again = (
        ""
        if score.relearned is None
        else (f" After {score.relearned.steps} steps on other text {score.relearned.left} are right.")
    )
    return Claim("drift", f"On {score.name}, which should be gone: {counted}{told}; {left}, {n}.{again}")


def _paired(score: KeepScore) -> str:
    parts = []
    if score.lost is not None and score.gained is not None:
        test = f" (exact McNemar test of lost against gained: p = {numbers.p_value(score.p_value)})"
        test = test if score.p_value is not None else ""
        lost, gained = numbers.percent(score.lost), numbers.percent(score.gained)
        parts.append(f"{lost} of the items were lost and {gained} gained{test}.")
    if score.retention is not None:
        parts.append(f"Retention above chance: {numbers.percent(score.retention, score.retention_interval)}.")
    return " ".join(parts)


def _limits(score: KeepScore, reading: Reading) -> str:
    unit = score.metric.unit
    if reading == "borderline":
        return "The interval and the exact test disagree, so this counts neither as a loss nor as none."
    if reading != "no change shown":
        return ""
    sentences = []
    if score.interval is not None:
        worst = score.interval[0] if score.metric.higher_is_better else -score.interval[1]
        if worst < 0:
            least = f"{numbers.plain(-worst, unit)} {unit.name}".rstrip()
            sentences.append(f"That does not prove that nothing was lost: a loss of {least} lies within the interval.")
    if score.detectable_loss is not None:
        least = f"{numbers.plain(score.detectable_loss, unit)} {unit.name}".rstrip()
        sentences.append(f"The smallest net loss that the test could show on this many items is {least}.")
    return " ".join(sentences)


def drift_claims(drift: Drift) -> list[Claim]:
    """The distance that the model moved, in sentences."""
    nats = numbers.NATS
    n = f"on {numbers.count(drift.tokens)} tokens of held-out text"
    found = []
    if drift.kl_nats_per_token is None:
        found.append(Claim("drift", "Drift on held-out text was not measured."))
    else:
        kl = numbers.level(drift.kl_nats_per_token, drift.kl_interval, nats)
        churn = (
            f"; its most likely next token differs at {numbers.percent(drift.churn, drift.churn_interval)} of positions"
            if drift.churn is not None
            else ""
        )
        text = f"Its predictions moved by {kl} nats per token from the base's {n} (KL divergence){churn}."
        found.append(Claim("drift", text))
    if drift.ce_drift_nats_per_token is not None:
        reading = read_change(drift.ce_drift_interval, higher_is_better=False)
        opening = {"worse": "It predicts general text worse", "better": "It predicts general text better"}
        moved = numbers.change(drift.ce_drift_nats_per_token, drift.ce_drift_interval, nats)
        told = opening.get(reading, "No change shown in how well it predicts general text")
        found.append(Claim(reading, f"{told}: cross-entropy changed by {moved} nats per token, {n}."))
    return found
