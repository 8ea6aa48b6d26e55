"""Retention of pretrained features: are an item's nearest neighbours in a labelled bank of its own class?"""

from __future__ import annotations

from typing import Any

import torch

from retain.evaluate.encode import features
from retain.evaluate.scores.features import neighbours_right
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.labels import chance_of_classes, show_labelled
from retain.evaluate.tasks.task_type import Asked, Metric, Response, Subject, TaskType, Tick

NEIGHBOURS_ASKED = 5


def _ask(subject: Subject, suite: Suite, settings: Settings, tick: Tick) -> Asked:
    bank_items: Any = suite.bank
    size, input_hash = settings.batch_size, subject.input_hash
    bank = features(subject.model, subject.preprocessor, bank_items, size, lambda _: None, input_hash)
    queries = features(subject.model, subject.preprocessor, suite.items, size, tick, input_hash)
    items: Any = suite.items
    names = sorted({item.label for item in [*bank_items, *items]})
    bank_labels = torch.tensor([names.index(item.label) for item in bank_items])
    labels = torch.tensor([names.index(item.label) for item in items])
    right = neighbours_right(bank, bank_labels, queries, labels, int(suite.options.get("k", NEIGHBOURS_ASKED)))
    return Asked(tuple(Response(values={"accuracy": float(found)}) for found in right.tolist()))


def _metrics(suite: Suite) -> tuple[Metric, ...]:
    bank: Any = suite.bank
    classes = len({item.label for item in bank})
    return (Metric("accuracy", "knowledge", chance=chance_of_classes(suite, classes)),)


def _score(suite: Suite, index: int, response: Response) -> dict[str, float]:
    del suite, index
    return dict(response.values)


NEIGHBOURS = TaskType(
    name="neighbours",
    forms=("labels", "images"),
    needs="features",
    about="Accuracy of the vote of the nearest neighbours in a labelled bank, by cosine of mean-pooled features.",
    ask=_ask,
    metrics=_metrics,
    score=_score,
    show=show_labelled,
)
