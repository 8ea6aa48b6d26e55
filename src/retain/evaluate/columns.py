"""From two sides' responses to scores and items: everything paired, item by item, groups of items as units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retain.evaluate.held_out import Window, WindowSums
from retain.evaluate.predictions import Predictions
from retain.evaluate.scores import calibration_error as calibration
from retain.evaluate.scores.classification import confusion, paired_summary_interval
from retain.evaluate.scores.keep import graded_keep_score, keep_score
from retain.evaluate.scores.task import task_score
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.table import task_type_of
from retain.evaluate.tasks.task_type import Metric, Response
from retain.records.items import Item, Side
from retain.records.scores import Breakdown, Calibration, KeepScore, ReliabilityBin, TaskScore
from retain.stats.clusters import named_groups
from retain.verdict.judge import largest_of

FEWEST_OF_A_CONDITION = 10
"""A part of a suite with fewer items is not shown by itself."""


@dataclass(frozen=True)
class Column:
    """One metric of one suite on both sides, for the items that have it.

    Attributes:
        metric: which.
        places: (n,) the items' places in the suite.
        base: (n,) values before.
        tuned: (n,) after.
        weights: (n,) what each counts, or None for one.
        groups: (n,) what each belongs to, or None where each stands alone.
    """

    metric: Metric
    places: NDArray[np.int64]
    base: NDArray[np.float64]
    tuned: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    groups: list[str] | None

    @property
    def chance(self) -> NDArray[np.float64]:
        """(n,) probability of guessing right."""
        given = np.asarray(self.metric.chance or [0.0] * (int(self.places.max()) + 1), dtype=np.float64)
        return given[self.places]


def columns(suite: Suite, base: Predictions, tuned: Predictions) -> list[Column]:
    """Every metric of a suite that some item has on both sides."""
    task_type = task_type_of(suite)
    before, after = (_scores(suite, side.responses[suite.name]) for side in (base, tuned))
    found = []
    for metric in task_type.metrics(suite):
        places = [k for k, (one, other) in enumerate(zip(before, after, strict=True)) if _has(metric, one, other)]
        if not places:
            continue
        weigh = task_type.weights.get(metric.name)
        responses = base.responses[suite.name]
        groups = [suite.items[k].group for k in places]
        found.append(
            Column(
                metric,
                np.asarray(places),
                np.asarray([before[k][metric.name] for k in places], dtype=np.float64),
                np.asarray([after[k][metric.name] for k in places], dtype=np.float64),
                None if weigh is None else np.asarray([responses[k].values[weigh] for k in places]),
                named_groups(groups),
            )
        )
    return found


def task_scores(suite: Suite, settings: Settings, base: Predictions, tuned: Predictions) -> list[TaskScore]:
    """What was learned, by each metric; for classes also macro-F1 and Matthews' correlation."""
    scores = [
        task_score(
            suite.name,
            column.metric.name,
            higher_is_better=column.metric.higher_is_better,
            base=column.base,
            tuned=column.tuned,
            weights=column.weights,
            groups=column.groups,
            generator=np.random.default_rng(settings.seed),
        )
        for column in columns(suite, base, tuned)
    ]
    return scores + _set_scores(suite, settings, base, tuned)


def _set_scores(suite: Suite, settings: Settings, base: Predictions, tuned: Predictions) -> list[TaskScore]:
    """Scores of a whole suite, from its confusion tables."""
    metrics = task_type_of(suite).set_metrics
    if not metrics:
        return []
    truth = np.asarray(task_type_of(suite).truth(suite))
    before, after = (np.asarray([r.answer for r in side.responses[suite.name]]) for side in (base, tuned))
    return [
        TaskScore(
            name=suite.name,
            metric=name,
            higher_is_better=True,
            n=len(truth),
            base=float(table(confusion(truth, before))),
            tuned=float(table(confusion(truth, after))),
            interval=paired_summary_interval(table, truth, before, after, np.random.default_rng(settings.seed)),
        )
        for name, table in metrics.items()
    ]


def keep_scores(suite: Suite, settings: Settings, base: Predictions, tuned: Predictions) -> list[KeepScore]:
    """What was kept, by each metric; the one that a verdict rests on first."""
    scores = []
    for column in columns(suite, base, tuned):
        generator = np.random.default_rng(settings.seed)
        if column.metric.right_or_wrong:
            scores.append(
                keep_score(
                    suite.name,
                    column.base == 1,
                    column.tuned == 1,
                    column.chance,
                    generator,
                    metric=column.metric.name,
                    groups=column.groups,
                )
            )
        else:
            scores.append(
                graded_keep_score(
                    suite.name,
                    column.metric.name,
                    column.base,
                    column.tuned,
                    generator,
                    higher_is_better=column.metric.higher_is_better,
                    weights=column.weights,
                    groups=column.groups,
                    largest=largest_of(column.metric.name, column.base, column.tuned),
                )
            )
    return scores


def breakdowns(suite: Suite, settings: Settings, base: Predictions, tuned: Predictions) -> list[Breakdown]:
    """The first metric on the parts of a suite that share a condition; none where all items do."""
    conditions = [item.condition for item in suite.items]
    if len(set(conditions) - {None}) < 2:
        return []
    column = columns(suite, base, tuned)[0]
    labels = np.asarray([conditions[place] or "(none)" for place in column.places])
    found = []
    for condition in dict.fromkeys(labels.tolist()):
        part = labels == condition
        if part.sum() < FEWEST_OF_A_CONDITION:
            continue
        score = task_score(
            suite.name,
            column.metric.name,
            higher_is_better=column.metric.higher_is_better,
            base=column.base[part],
            tuned=column.tuned[part],
            weights=None if column.weights is None else column.weights[part],
            groups=None if column.groups is None else [column.groups[place] for place in np.flatnonzero(part)],
            generator=np.random.default_rng(settings.seed),
        )
        found.append(
            Breakdown(
                suite=suite.name,
                metric=score.metric,
                condition=condition,
                n=score.n,
                base=score.base,
                tuned=score.tuned,
                interval=score.interval,
            )
        )
    return found


def calibrations(suite: Suite, settings: Settings, base: Predictions, tuned: Predictions) -> list[Calibration]:
    """How well each side's probabilities fit its hits, for classes."""
    found = []
    sides: tuple[tuple[Literal["base", "tuned"], Predictions], ...] = (("base", base), ("tuned", tuned))
    for name, side in sides:
        known = task_type_of(suite).probabilities(side.responses[suite.name])
        if known is None or len(known.truth) < FEWEST_OF_A_CONDITION:
            continue
        probabilities, truth = known.probabilities, known.truth
        found.append(
            Calibration(
                suite=suite.name,
                side=name,
                n=len(truth),
                ece=calibration.ece(probabilities, truth),
                ece_interval=calibration.ece_interval(probabilities, truth, np.random.default_rng(settings.seed)),
                brier=calibration.brier(probabilities, truth),
                nll=calibration.nll(probabilities, truth),
                bins=tuple(
                    ReliabilityBin(confidence=part.confidence, accuracy=part.accuracy, n=part.n)
                    for part in calibration.reliability_bins(probabilities, truth)
                ),
            )
        )
    return found


def suite_items(suite: Suite, base: Predictions, tuned: Predictions) -> Iterator[Item]:
    """Every item of a suite with both answers and both scores; texts are left out where the kind withholds them."""
    task_type = task_type_of(suite)
    before, after = (side.responses[suite.name] for side in (base, tuned))
    for index, item in enumerate(suite.items):
        question, expected = task_type.show(item)
        yield Item(
            part=suite.part,
            suite=suite.name,
            index=index,
            group=item.group,
            condition=item.condition,
            withheld=task_type.withheld,
            question=question,
            expected=expected,
            base=_side(suite, index, before[index]),
            tuned=_side(suite, index, after[index]),
        )


def held_out_items(windows: Sequence[Window], texts: Sequence[str], sums: WindowSums) -> Iterator[Item]:
    """The windows of held-out text with what both models made of them."""
    for index, (window, text) in enumerate(zip(windows, texts, strict=True)):
        tokens = sums.tokens[index]
        yield Item(
            part="held_out_text",
            suite="held_out_text",
            index=index,
            condition=window.domain or None,
            question=text,
            base=Side(scores={"cross_entropy_nats_per_token": sums.base_nll[index] / tokens, "tokens": float(tokens)}),
            tuned=Side(
                scores={
                    "cross_entropy_nats_per_token": sums.tuned_nll[index] / tokens,
                    "kl_nats_per_token": sums.kl[index] / tokens,
                    "churn": sums.churn[index] / tokens,
                    "tokens": float(tokens),
                }
            ),
        )


def _side(suite: Suite, index: int, response: Response) -> Side:
    task_type = task_type_of(suite)
    scores = task_type.score(suite, index, response)
    weights = {name: response.values[name] for name in task_type.weights.values() if name in response.values}
    return Side(answer=response.answer, scores={**scores, **weights})


def _scores(suite: Suite, responses: Sequence[Response]) -> list[dict[str, float]]:
    task_type = task_type_of(suite)
    return [task_type.score(suite, index, response) for index, response in enumerate(responses)]


def _has(metric: Metric, one: dict[str, Any], other: dict[str, Any]) -> bool:
    return metric.name in one and metric.name in other


def domains(windows: Sequence[Window], sums: WindowSums, settings: Settings) -> list[Breakdown]:
    """Cross-entropy and KL of the held-out text domain by domain, where there are several."""
    labels = np.asarray([window.domain for window in windows])
    found = []
    for domain in dict.fromkeys(labels.tolist()):
        part = labels == domain
        if not domain or part.sum() < 2:
            continue
        tokens = sums.column("tokens")[part]
        pairs = {
            "cross_entropy_nats_per_token": (sums.column("base_nll")[part], sums.column("tuned_nll")[part]),
            "kl_nats_per_token": (np.zeros(int(part.sum())), sums.column("kl")[part]),
            "churn": (np.zeros(int(part.sum())), sums.column("churn")[part]),
        }
        for metric, (base, tuned) in pairs.items():
            score = task_score(
                "held_out_text",
                metric,
                higher_is_better=False,
                base=base / tokens,
                tuned=tuned / tokens,
                weights=tokens,
                generator=np.random.default_rng(settings.seed),
            )
            found.append(
                Breakdown(
                    suite="held_out_text",
                    metric=metric,
                    condition=domain,
                    n=score.n,
                    base=score.base,
                    tuned=score.tuned,
                    interval=score.interval,
                )
            )
    return found
