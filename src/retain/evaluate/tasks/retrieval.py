"""Pairs that belong together: does the query find its match among all matches, by the model's own features?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from retain.data.family import Head
from retain.data.item import DataItem
from retain.data.item_types import Match
from retain.data.texts import folded
from retain.evaluate.scores.without_reading import ALMOST_SURE
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.index import check_width, index_of_base, index_told
from retain.evaluate.tasks.task_type import Metrics, Response, SuitePredictions, TaskType
from retain.records.metrics_table import RECIPROCAL_RANK, TOP_1

if TYPE_CHECKING:
    from retain.evaluate.tasks.predictor import Predictor


class RetrievalTask(TaskType):
    """Retrieval among the matches of the suite."""

    name: ClassVar[str] = "retrieval"
    forms: ClassVar[tuple[type[DataItem], ...]] = (Match,)
    needs: ClassVar[Head] = "features"
    about: ClassVar[str] = "Share of queries whose nearest text, by cosine of mean-pooled features, is their own match."
    items_are_independent: ClassVar[bool] = False
    searches: ClassVar[bool] = True

    def predict(self, suite: Suite, predictor: Predictor) -> SuitePredictions:
        """Rank all matches for each query."""
        from retain.evaluate.scores.features import reciprocal_ranks, retrieval_right  # noqa: PLC0415  (imports torch)

        items: Any = suite.items
        queries = predictor.features([item.query for item in items])
        matches = predictor.uncounted.features([item.match for item in items], by_base=index_of_base(suite))
        check_width(suite, matches, queries)
        right = retrieval_right(queries, matches).tolist()
        ranks = reciprocal_ranks(queries, matches).tolist()
        return SuitePredictions(
            tuple(
                Response(values={TOP_1.name: float(first), RECIPROCAL_RANK.name: rank})
                for first, rank in zip(right, ranks, strict=True)
            )
        )

    def metrics(self, suite: Suite) -> Metrics:
        """The share of queries that find their match first, and the mean reciprocal rank.

        A match that is its query again is found by any features, those of random weights among them; but not in the
        base's index, where only features that stayed what they were find it.
        """
        items: Any = suite.items
        n, own = len(items), not index_of_base(suite)
        chance = [ALMOST_SURE if own and folded(item.query) == folded(item.match) else 1 / n for item in items]
        return {TOP_1: chance, RECIPROCAL_RANK: ()}

    def score(self, suite: Suite, index: int, response: Response) -> dict[str, float]:
        """Both figures."""
        del suite, index
        return dict(response.values)

    def show(self, item: Match) -> tuple[str, str | None]:
        """Query and match."""
        return item.query, item.match

    def cautions(self, suite: Suite) -> list[str]:
        """An index that is the base's."""
        return index_told(suite)

    def problems(self, suite: Suite) -> list[str]:
        """A single pair."""
        problem = "there is one pair, among which any model finds the match; give at least two"
        return [problem] if len(suite.items) == 1 else []
