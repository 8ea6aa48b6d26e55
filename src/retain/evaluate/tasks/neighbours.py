"""Retention of pretrained features: are an item's nearest neighbours in a labelled bank of its own class?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from retain.data.family import Head
from retain.data.item import DataItem
from retain.data.item_types import LabelledImage, LabelledText
from retain.evaluate.scores.without_reading import Chance
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.index import check_width, index_of_base, index_told
from retain.evaluate.tasks.labels import chance_of_classes
from retain.evaluate.tasks.task_type import Metrics, Response, SuitePredictions, TaskType
from retain.records.metrics_table import ACCURACY

if TYPE_CHECKING:
    from retain.evaluate.tasks.predictor import Predictor

NEIGHBOURS = 5
"""Neighbours that vote, where the suite says nothing."""


class NeighboursTask(TaskType):
    """Classification by the nearest neighbours in a bank."""

    name: ClassVar[str] = "neighbours"
    forms: ClassVar[tuple[type[DataItem], ...]] = (LabelledText, LabelledImage)
    needs: ClassVar[Head] = "features"
    about: ClassVar[str] = (
        "Accuracy of the vote of the nearest neighbours in a labelled bank, by cosine of mean-pooled features."
    )
    needs_bank: ClassVar[bool] = True
    items_are_independent: ClassVar[bool] = False
    searches: ClassVar[bool] = True
    in_batches: ClassVar[bool] = True

    def predict(self, suite: Suite, predictor: Predictor) -> SuitePredictions:
        """Let the bank's nearest items vote on each item's class."""
        import torch  # noqa: PLC0415  (this module is read by `retain suites`, which is quick)

        from retain.evaluate.scores.features import neighbours_right  # noqa: PLC0415  (it imports torch)

        items: Any = suite.items
        bank_items: Any = suite.bank
        bank = predictor.uncounted.features(bank_items, by_base=index_of_base(suite))
        queries = predictor.features(items)
        check_width(suite, bank, queries)
        names = sorted({item.label for item in [*bank_items, *items]})
        bank_labels = torch.tensor([names.index(item.label) for item in bank_items])
        labels = torch.tensor([names.index(item.label) for item in items])
        right = neighbours_right(bank, bank_labels, queries, labels, neighbours_of(suite))
        return SuitePredictions(tuple(Response(values={ACCURACY.name: float(value)}) for value in right.tolist()))

    def metrics(self, suite: Suite) -> Metrics:
        """Accuracy."""
        return {ACCURACY: self.chance(suite).items}

    def chance(self, suite: Suite) -> Chance:
        """Of naming the class without the text or image."""
        bank: Any = suite.bank
        return chance_of_classes(suite, len({item.label for item in bank}))

    def score(self, suite: Suite, index: int, response: Response) -> dict[str, float]:
        """1 where the vote was right."""
        del suite, index
        return dict(response.values)

    def show(self, item: Any) -> tuple[str, str | None]:
        """The text or the image's name, and the class."""
        return item.shown, item.label

    def cautions(self, suite: Suite) -> list[str]:
        """An index that is the base's."""
        return index_told(suite)

    def bank_problems(self, suite: Suite) -> list[str]:
        """More neighbours than the bank holds."""
        k, held = neighbours_of(suite), len(suite.bank)
        count = f"{k} nearest neighbours vote, but its bank holds {held} items"
        cure = "give a larger bank, or a smaller k under options of the suite file"
        return [f"{suite.name}: {count}; {cure}."] if k > held else []


def neighbours_of(suite: Suite) -> int:
    """The number of neighbours that vote."""
    return int(suite.options.get("k", NEIGHBOURS))
