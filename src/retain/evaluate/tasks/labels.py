"""Texts or images and their class, as a classifier with a trained head sees them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from retain.evaluate.encode import class_names, log_probabilities
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.task_type import Asked, Metric, Response, Subject, TaskType, Tick

ALMOST_SURE = 1 - 1e-6
"""Chance where all items are of one class: a suite that shows nothing, and no division by zero."""


def chance_of_classes(suite: Suite, classes: int) -> list[float]:
    """Share that guessing gets right, for each item: 1 / classes, or what the suite says.

    It is at least the share of the largest class among the items, which a model has that always says this class.
    """
    items: Any = suite.items
    if not items:
        return []
    largest = max(Counter(item.label for item in items).values()) / len(items)
    given = float(suite.options.get("chance", 1 / max(classes, 2)))
    return [min(max(given, largest), ALMOST_SURE)] * len(items)


def _ask(subject: Subject, suite: Suite, settings: Settings, tick: Tick) -> Asked:
    names = class_names(subject.model)
    found = log_probabilities(
        subject.model, subject.preprocessor, suite.items, settings.batch_size, tick, subject.input_hash
    )
    index = {name: position for position, name in enumerate(names)}
    responses = []
    for item, row in zip(suite.items, found.tolist(), strict=True):
        truth = index.get(item.label)  # type: ignore[union-attr]  # forms says that they are labelled
        values = {"confidence": math.exp(max(row))}
        if truth is not None:
            values["nll"] = -row[truth]
            values["brier"] = float(sum((math.exp(p) - (k == truth)) ** 2 for k, p in enumerate(row)))
        responses.append(Response(answer=names[int(np.argmax(row))], values=values, options=tuple(row)))
    cut = 0
    longest = getattr(subject.preprocessor, "max_length", None)
    if longest is not None:
        cut = sum(length > longest for length in subject.preprocessor.lengths(suite.items))
    return Asked(tuple(responses), cut)


def _metrics(suite: Suite) -> tuple[Metric, ...]:
    items: Any = suite.items
    classes = suite.options.get("classes") or len({item.label for item in items})
    return (Metric("accuracy", "knowledge", chance=chance_of_classes(suite, int(classes))),)


def _score(suite: Suite, index: int, response: Response) -> dict[str, float]:
    item: Any = suite.items[index]
    return {"accuracy": float(response.answer == item.label), **response.values}


def show_labelled(item: Any) -> tuple[str, str | None]:
    """A labelled text or image as question and expected class."""
    if hasattr(item, "image"):
        name = "/".join(item.image.split("/")[-2:])
        spoilt = f" ({item.corruption[0]}, severity {item.corruption[1]})" if item.corruption else ""
        return f"{name}{spoilt}", item.label
    return item.text if item.text_pair is None else f"{item.text} | {item.text_pair}", item.label


LABELS = TaskType(
    name="labels",
    forms=("labels", "images"),
    needs="classifier",
    about="Accuracy of the class that the model finds most likely, with its confidence.",
    ask=_ask,
    metrics=_metrics,
    score=_score,
    show=show_labelled,
)
