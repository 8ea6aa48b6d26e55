"""Pairs that belong together: does the query find its match among all matches, by the model's own features?"""

from __future__ import annotations

from typing import Any

from retain.data.items import Match
from retain.evaluate.encode import features
from retain.evaluate.scores.features import reciprocal_ranks, retrieval_right
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.task_type import Asked, Metric, Response, Subject, TaskType, Tick


def _ask(subject: Subject, suite: Suite, settings: Settings, tick: Tick) -> Asked:
    items: Any = suite.items
    size, input_hash = settings.batch_size, subject.input_hash
    queries = features(subject.model, subject.preprocessor, [item.query for item in items], size, tick, input_hash)
    matches = features(
        subject.model, subject.preprocessor, [item.match for item in items], size, lambda _: None, input_hash
    )
    right = retrieval_right(queries, matches).tolist()
    ranks = reciprocal_ranks(queries, matches).tolist()
    return Asked(
        tuple(
            Response(values={"top_1": float(found), "reciprocal_rank": rank})
            for found, rank in zip(right, ranks, strict=True)
        )
    )


def _metrics(suite: Suite) -> tuple[Metric, ...]:
    n = len(suite.items)
    return (
        Metric("top_1", "knowledge", chance=[1 / n] * n),
        Metric("reciprocal_rank", right_or_wrong=False),
    )


def _score(suite: Suite, index: int, response: Response) -> dict[str, float]:
    del suite, index
    return dict(response.values)


def _show(item: Match) -> tuple[str, str | None]:
    return item.query, item.match


RETRIEVAL = TaskType(
    name="retrieval",
    forms=("retrieval",),
    needs="features",
    about="Share of queries whose nearest text, by cosine of mean-pooled features, is their own match.",
    ask=_ask,
    metrics=_metrics,
    score=_score,
    show=_show,
)
