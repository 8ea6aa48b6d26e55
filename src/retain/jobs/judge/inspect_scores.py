"""The scores of samples of inspect_ai as numbers, and what guessing gets right on them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retain.evaluate.scores.without_reading import ALMOST_SURE, best, of_choices
from retain.records.metric import Metric, right_or_wrong

LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Correct, partly correct, incorrect, no answer, as the program itself counts them."""


def _values(sample: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each score's name and value; of a score with several values each by itself, as SCORE/NAME."""
    for name, score in mapping(sample.get("scores")).items():
        value = score.get("value") if isinstance(score, dict) else None
        if isinstance(value, dict):
            yield from ((f"{name}/{part}", inner) for part, inner in value.items())
        else:
            yield name, value


def numbers_of(sample: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Each score's name and number; NaN where the program gave none."""
    for name, value in _values(sample):
        if isinstance(value, str) and value in LETTERS:
            yield name, LETTERS[value]
        elif isinstance(value, (bool, int, float)):
            yield name, float(value)
        elif value is None:
            yield name, math.nan


def metrics_of_letters(samples: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """The metrics whose values are letters: right or wrong, or with degrees where something is partly right."""
    letters: dict[str, set[str]] = {}
    for name, value in (pair for sample in samples for pair in _values(sample)):
        if isinstance(value, str) and value in LETTERS:
            letters.setdefault(name, set()).add(value)
    return {
        name: Metric(name=name, unit="share", low=0.0, high=1.0) if "P" in seen else right_or_wrong(name)
        for name, seen in letters.items()
    }


def chance_of(samples: Sequence[Mapping[str, Any]]) -> float | None:
    """What can be had without reading: any option, or one answer to all; None where there is no target."""
    targets = [sample.get("target") for sample in samples]
    texts = [target for target in targets if isinstance(target, str)]
    if not texts or len(texts) < len(targets):
        return None
    commonest = max(Counter(texts).values()) / len(texts)
    options = [sample.get("choices") or [] for sample in samples]
    places = [ord(text) - ord("A") if len(text) == 1 else -1 for text in texts]
    if all(len(one) > 1 and 0 <= place < len(one) for one, place in zip(options, places, strict=True)):
        shown = [[str(option) for option in one] for one in options]
        commonest = max(commonest, best(of_choices(shown, places)).mean)
    return min(commonest, ALMOST_SURE)


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}
