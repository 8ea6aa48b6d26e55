"""Texts or images and their class, as a classifier with a trained head sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from retain.data.answers import called
from retain.data.family import Head
from retain.data.item import DataItem
from retain.data.item_types import LabelledImage, LabelledText
from retain.evaluate.scores import without_reading
from retain.evaluate.scores.classification import SetMetric, table_macro_f1, table_matthews
from retain.evaluate.scores.without_reading import Chance
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.task_type import ClassProbabilities, Metrics, Response, SuitePredictions, TaskType
from retain.records.metric import Metric
from retain.records.metrics_table import ACCURACY, MACRO_F1, MATTHEWS

if TYPE_CHECKING:
    from retain.evaluate.tasks.predictor import Predictor


class LabelsTask(TaskType):
    """Classification by the model's own head."""

    name: ClassVar[str] = "labels"
    forms: ClassVar[tuple[type[DataItem], ...]] = (LabelledText, LabelledImage)
    needs: ClassVar[Head] = "classifier"
    about: ClassVar[str] = "Accuracy of the class that the model finds most likely, with its confidence."
    in_batches: ClassVar[bool] = True
    set_metrics: ClassVar[Mapping[Metric, SetMetric]] = {MACRO_F1: table_macro_f1, MATTHEWS: table_matthews}

    def predict(self, suite: Suite, predictor: Predictor) -> SuitePredictions:
        """The log-probability of each class for each item."""
        names = called(predictor.class_names, self.truth(suite))
        rows = predictor.log_probabilities(suite.items).tolist()
        index = {name: position for position, name in enumerate(names)}
        items: Any = suite.items
        responses = []
        for item, row in zip(items, rows, strict=True):
            truth = index.get(item.label)
            values = {"confidence": math.exp(max(row))}
            if truth is not None:
                values["nll"] = -row[truth]
                values["brier"] = float(sum((math.exp(p) - (k == truth)) ** 2 for k, p in enumerate(row)))
            responses.append(Response(answer=names[int(np.argmax(row))], values=values, options=tuple(row)))
        return SuitePredictions(tuple(responses), predictor.preprocessor.cuts(items).items)

    def metrics(self, suite: Suite) -> Metrics:
        """Accuracy."""
        return {ACCURACY: self.chance(suite).items}

    def chance(self, suite: Suite) -> Chance:
        """Of naming the class without the text or image."""
        return chance_of_classes(suite, int(suite.options.get("classes") or len(set(self.truth(suite)))))

    def luck(self, suite: Suite, metric: Metric) -> float:
        """Of naming any class."""
        return super().luck(suite, metric) or 1 / max(
            2, int(suite.options.get("classes") or len(set(self.truth(suite))))
        )

    def old_answer_nats(self, suite: Suite, index: int, response: Response) -> float | None:
        """That of the right class."""
        del suite, index
        return response.values.get("nll")

    def score(self, suite: Suite, index: int, response: Response) -> dict[str, float]:
        """Accuracy, confidence, and NLL and Brier score where the model knows the class."""
        item: Any = suite.items[index]
        return {ACCURACY.name: float(response.answer == item.label), **response.values}

    def show(self, item: Any) -> tuple[str, str | None]:
        """The text or the image's name, and the class."""
        return item.shown, item.label

    def truth(self, suite: Suite) -> Sequence[str]:
        """The class of each item."""
        items: Any = suite.items
        return [item.label for item in items]

    def probabilities(self, responses: Sequence[Response]) -> ClassProbabilities:
        """The probabilities of items with an NLL; the right class is the one whose log-probability it is."""
        known = [response for response in responses if "nll" in response.values]
        options = np.asarray([response.options for response in known])
        nll = np.asarray([response.values["nll"] for response in known])
        truth = np.abs(options + nll[:, None]).argmin(axis=1) if known else np.zeros(0, dtype=np.int64)
        return ClassProbabilities(np.exp(options), truth)


def chance_of_classes(suite: Suite, classes: int) -> Chance:
    """The probability of naming the class of each item without reading it: the largest class, or any, or as stated."""
    items: Any = suite.items
    if not items:
        return Chance()
    given = suite.options.get("chance")
    strategies = without_reading.of_classes([item.label for item in items], classes)
    return without_reading.best(strategies, None if given is None else float(given))
