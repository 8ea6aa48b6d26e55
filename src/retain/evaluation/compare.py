"""From two sides' responses to scores and items: everything paired, item by item, groups of items as units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retain.evaluation.answers import Answers
from retain.evaluation.judging import largest_of
from retain.evaluation.kinds.kind import Metric, Response
from retain.evaluation.kinds.table import KINDS
from retain.evaluation.metrics import calibration
from retain.evaluation.metrics.clusters import named_groups
from retain.evaluation.metrics.keep import graded_keep_score, keep_score
from retain.evaluation.metrics.labels import macro_f1, matthews, paired_summary_interval, table_macro_f1, table_matthews
from retain.evaluation.metrics.task import task_score
from retain.evaluation.reference import Window, WindowSums
from retain.evaluation.suites import Settings, Suite
from retain.results import Breakdown, Calibration, Item, KeepScore, ReliabilityBin, Side, TaskScore

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


def columns(suite: Suite, base: Answers, tuned: Answers) -> list[Column]:
    """Every metric of a suite that some item has on both sides."""
    kind = KINDS[suite.kind]
    before, after = (_scores(suite, side.responses[suite.name]) for side in (base, tuned))
    found = []
    for metric in kind.metrics(suite):
        places = [k for k, (one, other) in enumerate(zip(before, after, strict=True)) if _has(metric, one, other)]
        if not places:
            continue
        weigh = kind.weight.get(metric.name)
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


def task_scores(suite: Suite, settings: Settings, base: Answers, tuned: Answers) -> list[TaskScore]:
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
    return scores + (_class_scores(suite, settings, base, tuned) if suite.kind == "labels" else [])


def _class_scores(suite: Suite, settings: Settings, base: Answers, tuned: Answers) -> list[TaskScore]:
    truth = np.asarray([getattr(item, "label", "") for item in suite.items])
    before, after = (np.asarray([r.answer for r in side.responses[suite.name]]) for side in (base, tuned))
    return [
        TaskScore(
            name=suite.name,
            metric=name,
            higher_is_better=True,
            n=len(truth),
            base=metric(truth, before),
            tuned=metric(truth, after),
            interval=paired_summary_interval(table, truth, before, after, np.random.default_rng(settings.seed)),
        )
        for name, metric, table in (
            ("macro_f1", macro_f1, table_macro_f1),
            ("matthews", matthews, table_matthews),
        )
    ]


def keep_scores(suite: Suite, settings: Settings, base: Answers, tuned: Answers) -> list[KeepScore]:
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


def breakdowns(suite: Suite, settings: Settings, base: Answers, tuned: Answers) -> list[Breakdown]:
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


def calibrations(suite: Suite, base: Answers, tuned: Answers) -> list[Calibration]:
    """How well each side's probabilities fit its hits, for classes."""
    if suite.kind != "labels":
        return []
    found = []
    sides: tuple[tuple[Literal["base", "tuned"], Answers], ...] = (("base", base), ("tuned", tuned))
    for name, side in sides:
        responses = side.responses[suite.name]
        known = [k for k, response in enumerate(responses) if "nll" in response.values]
        if len(known) < FEWEST_OF_A_CONDITION:
            continue
        probabilities = np.exp(np.asarray([responses[k].options for k in known]))
        truth = _truth(responses, known)
        found.append(
            Calibration(
                suite=suite.name,
                side=name,
                n=len(known),
                ece=calibration.ece(probabilities, truth),
                brier=calibration.brier(probabilities, truth),
                nll=calibration.nll(probabilities, truth),
                bins=tuple(
                    ReliabilityBin(confidence=part.confidence, accuracy=part.accuracy, n=part.n)
                    for part in calibration.reliability_bins(probabilities, truth)
                ),
            )
        )
    return found


def _truth(responses: Sequence[Response], known: Sequence[int]) -> NDArray[np.int64]:
    """The right class of each item: the one whose log-probability is the noted NLL."""
    return np.asarray(
        [int(np.argmin(np.abs(np.asarray(responses[k].options) + responses[k].values["nll"]))) for k in known]
    )


def suite_items(suite: Suite, base: Answers, tuned: Answers) -> Iterator[Item]:
    """Every item of a suite with both answers and both scores; texts are left out where the kind withholds them."""
    kind = KINDS[suite.kind]
    before, after = (side.responses[suite.name] for side in (base, tuned))
    for index, item in enumerate(suite.items):
        question, expected = kind.show(item)
        yield Item(
            part=suite.part,
            suite=suite.name,
            index=index,
            group=item.group,
            condition=item.condition,
            withheld=kind.withheld,
            question=question,
            expected=expected,
            base=_side(suite, index, before[index]),
            tuned=_side(suite, index, after[index]),
        )


def reference_items(windows: Sequence[Window], texts: Sequence[str], sums: WindowSums) -> Iterator[Item]:
    """The windows of reference text with what both models made of them."""
    for index, (window, text) in enumerate(zip(windows, texts, strict=True)):
        tokens = sums.tokens[index]
        yield Item(
            part="reference",
            suite="reference",
            index=index,
            condition=window.genre or None,
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
    kind = KINDS[suite.kind]
    scores = kind.score(suite, index, response)
    weights = {name: response.values[name] for name in kind.weight.values() if name in response.values}
    return Side(answer=response.answer, scores={**scores, **weights})


def _scores(suite: Suite, responses: Sequence[Response]) -> list[dict[str, float]]:
    kind = KINDS[suite.kind]
    return [kind.score(suite, index, response) for index, response in enumerate(responses)]


def _has(metric: Metric, one: dict[str, Any], other: dict[str, Any]) -> bool:
    return metric.name in one and metric.name in other


def genres(windows: Sequence[Window], sums: WindowSums, settings: Settings) -> list[Breakdown]:
    """Cross-entropy and KL of the reference text genre by genre, where there are several."""
    labels = np.asarray([window.genre for window in windows])
    found = []
    for genre in dict.fromkeys(labels.tolist()):
        part = labels == genre
        if not genre or part.sum() < 2:
            continue
        tokens = sums.column("tokens")[part]
        pairs = {
            "cross_entropy_nats_per_token": (sums.column("base_nll")[part], sums.column("tuned_nll")[part]),
            "kl_nats_per_token": (np.zeros(int(part.sum())), sums.column("kl")[part]),
            "churn": (np.zeros(int(part.sum())), sums.column("churn")[part]),
        }
        for metric, (base, tuned) in pairs.items():
            score = task_score(
                "reference",
                metric,
                higher_is_better=False,
                base=base / tokens,
                tuned=tuned / tokens,
                weights=tokens,
                generator=np.random.default_rng(settings.seed),
            )
            found.append(
                Breakdown(
                    suite="reference",
                    metric=metric,
                    condition=genre,
                    n=score.n,
                    base=score.base,
                    tuned=score.tuned,
                    interval=score.interval,
                )
            )
    return found
