"""The scores of samples of inspect_ai as numbers, and what guessing gets right on them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retain.evaluate.scores.without_reading import ALMOST_SURE, best, of_choices
from retain.jobs.judge.logs import listing, mapping
from retain.records.metric import Metric, right_or_wrong

WORDS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Correct, partly correct, incorrect, no answer, and words for true and false, as the program itself counts them."""


def _values(sample: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each score's name and value; of a score with several values each by itself, as SCORE/NAME."""
    for name, score in mapping(sample.get("scores")).items():
        value = score.get("value") if isinstance(score, dict) else None
        if isinstance(value, dict):
            yield from ((f"{name}/{part}", inner) for part, inner in value.items())
        else:
            yield name, value


def _number_of(value: Any) -> float | None:
    """A value as the program counts it: NaN where it gave none, None where it is no number."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        return WORDS.get(value, WORDS.get(value.lower(), _finite(value)))
    return float(value) if isinstance(value, (bool, int, float)) else None


def _finite(text: str) -> float | None:
    """A number that is written as text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def numbers_of(sample: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Each score's name and number; NaN where the program gave none."""
    for name, value in _values(sample):
        if (number := _number_of(value)) is not None:
            yield name, number


def metrics_of_words(samples: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """The metrics whose values are words: right or wrong, or with degrees where something is partly right."""
    pairs = [pair for sample in samples for pair in _values(sample)]
    numbers: dict[str, set[float]] = {name: set() for name, value in pairs if isinstance(value, str)}
    for name, value in pairs:
        number = _number_of(value)
        if name in numbers and number is not None and math.isfinite(number):
            numbers[name].add(number)
    shares = {name: seen for name, seen in numbers.items() if seen and min(seen) >= 0 and max(seen) <= 1}
    return {
        name: right_or_wrong(name) if seen <= {0.0, 1.0} else Metric(name=name, unit="share", low=0.0, high=1.0)
        for name, seen in shares.items()
    }


def chance_of(samples: Sequence[Mapping[str, Any]]) -> float | None:
    """What can be had without reading: any option, or one answer to all; None where there is no target."""
    targets = [sample.get("target") for sample in samples]
    texts = [target for target in targets if isinstance(target, str)]
    if not texts or len(texts) < len(targets):
        return None
    commonest = max(Counter(texts).values()) / len(texts)
    options = [listing(sample.get("choices")) for sample in samples]
    places = [ord(text) - ord("A") if len(text) == 1 else -1 for text in texts]
    if all(len(one) > 1 and 0 <= place < len(one) for one, place in zip(options, places, strict=True)):
        shown = [[str(option) for option in one] for one in options]
        commonest = max(commonest, best(of_choices(shown, places)).mean)
    return min(commonest, ALMOST_SURE)
