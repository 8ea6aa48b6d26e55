"""How much of a gain or loss came from training and how much from conversion, from items that all three answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from retain.records.conversion_record import ConversionScore, Step
from retain.records.gone_record import GoneScore
from retain.records.items import Item, Side
from retain.records.metric import Metric
from retain.records.metrics_table import CROSS_ENTROPY
from retain.records.scores import KeepScore, TaskScore
from retain.verdict.column import Column, column_of_items, scored_by
from retain.verdict.evidence import evaluate
from retain.verdict.judge import HELD_OUT_PART, HELD_OUT_TEXT


def conversion_scores(
    items: Sequence[Item],
    task: Iterable[TaskScore],
    keep: Iterable[KeepScore],
    seed: int,
    gone: Iterable[GoneScore] = (),
) -> list[ConversionScore]:
    """The steps of every metric that items have, in the order of the record's scores; held-out text last.

    Args:
        items: with a third side each.
        task: scores of the task, which name its metrics.
        keep: scores of what was to be kept.
        seed: of the resamples.
        gone: scores of what should be gone, which a conversion can bring back.
    """
    wanted: list[tuple[str, str, Metric]] = [
        ("task", score.name, score.metric) for score in task if score.metric.level == "item"
    ]
    wanted += [("keep", score.name, score.metric) for score in keep]
    wanted += [("gone", score.name, score.metric) for score in gone]
    wanted += [(HELD_OUT_PART, HELD_OUT_TEXT, CROSS_ENTROPY)]
    found = []
    for part, name, metric in wanted:
        of_suite = [item for item in items if (item.part, item.suite) == (part, name)]
        if score := conversion_score(of_suite, metric, seed):
            found.append(score)
    return found


def conversion_score(items: Sequence[Item], metric: Metric, seed: int) -> ConversionScore | None:
    """The steps of one metric; None where no item has it on all three sides."""
    both = [item for item in scored_by(items, metric) if item.converted and metric.name in item.converted.scores]
    if not both:
        return None
    first = both[0]
    columns = {
        "training": _column(both, metric),
        "conversion": _column([_between(item, item.tuned) for item in both], metric),
        "total": _column([_between(item, item.base) for item in both], metric),
    }
    steps = {}
    for name, column in columns.items():
        evidence = evaluate(column, np.random.default_rng(seed))
        steps[name] = Step(change=evidence.change, interval=evidence.interval, p_value=evidence.p_value)
    means = [
        float(np.average(values, weights=columns["training"].share))
        for values in (columns["training"].base, columns["training"].tuned, columns["conversion"].tuned)
    ]
    return ConversionScore(
        part=first.part, name=first.suite, metric=metric, n=len(both),
        base=means[0], tuned=means[1], converted=means[2], **steps,
    )  # fmt: skip


def _between(item: Item, before: Side) -> Item:
    """An item whose two sides are one of the three and the converted model; its weights stay those of the item."""
    return item.model_copy(update={"base": _weighing(item, before), "tuned": item.converted})


def _weighing(item: Item, side: Side) -> Side:
    return side.model_copy(update={"scores": {**item.base.scores, **side.scores}})


def _column(items: Sequence[Item], metric: Metric) -> Column:
    return column_of_items(items[0].suite, metric, items)
