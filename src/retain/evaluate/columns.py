"""Items, columns and rows of the record from the responses of two sides: everything paired, item by item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from retain.evaluate.held_out import Window, WindowSums
from retain.evaluate.predictions import Predictions
from retain.evaluate.scores.classification import confusion, paired_summary_interval
from retain.evaluate.scores.declining import declines
from retain.evaluate.scores.rows import breakdown_row, breakdown_rows
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.table import task_type_of
from retain.evaluate.tasks.task_type import Response
from retain.records.gone_record import DECLINED
from retain.records.items import Item, Side
from retain.records.metric import Metric
from retain.records.metrics_table import CHURN, CROSS_ENTROPY, KL_DIVERGENCE, OLD_ANSWER, UNREAD
from retain.records.scores import Breakdown, TaskScore
from retain.stats.bootstrap import change_interval
from retain.verdict.column import Column, column_of_items, scored_by
from retain.verdict.judge import HELD_OUT_PART, HELD_OUT_TEXT
from retain.verdict.verdict import USUAL, Margins


@dataclass(frozen=True)
class PairedSuite:
    """A suite as both sides answered it.

    Attributes:
        suite: the suite.
        base: the base's responses, in the items' order.
        tuned: the tuned model's.
        items: each item with both answers and all scores, as the record has it.
        columns: every metric that some item has on both sides, the one that decides first.
    """

    suite: Suite
    base: tuple[Response, ...]
    tuned: tuple[Response, ...]
    items: tuple[Item, ...]
    columns: tuple[Column, ...]


def paired(suite: Suite, base: Predictions, tuned: Predictions) -> PairedSuite:
    """Score every item of a suite on both sides, once."""
    metrics = task_type_of(suite).metrics_beside(suite, base.responses[suite.name])
    gone = suite.part == "gone"
    sides = base.responses[suite.name], tuned.responses[suite.name]
    items = tuple(_items(suite, sides, {metric.weight for metric in metrics} - {""} | {UNREAD}))
    limit, option = base.longest_answers.get(suite.name), _limit_option(suite)
    columns = tuple(
        column_of_items(suite.name, metric, items, _chance(suite, items, metric, chance), limit, option)
        for metric, chance in metrics.items()
        if scored_by(items, metric) and (metric.right_or_wrong or not gone)
    )
    return PairedSuite(suite, *sides, items, columns)


def _items(suite: Suite, sides: tuple[Sequence[Response], Sequence[Response]], weights: set[str]) -> Iterator[Item]:
    """Every item with both answers and both scores; texts are left out where the task type withholds them."""
    task_type = task_type_of(suite)
    for index, item in enumerate(suite.items):
        question, expected = task_type.show(item)
        base, tuned = (_side(suite, index, side[index], weights) for side in sides)
        yield Item(
            part=suite.part,
            suite=suite.name,
            index=index,
            group=item.group,
            condition=item.condition,
            withheld=task_type.withheld,
            question=question,
            expected=expected,
            base=base,
            tuned=tuned,
        )


def _side(suite: Suite, index: int, response: Response, weights: set[str]) -> Side:
    scores = task_type_of(suite).score(suite, index, response)
    weighing = {name: response.values[name] for name in sorted(weights) if name in response.values}
    weighing |= _gone_values(suite, index, response) if suite.part == "gone" else {}
    return Side(answer=response.answer, cut_off=response.cut_off, scores={**scores, **weighing})


def _gone_values(suite: Suite, index: int, response: Response) -> dict[str, float]:
    """Whether an answer that was written declines to answer, and the likelihood of the right one."""
    nats = task_type_of(suite).old_answer_nats(suite, index, response)
    values = {} if nats is None else {OLD_ANSWER.name: nats}
    return values if response.cut_off is None else {**values, DECLINED: float(declines(response.answer or ""))}


def relearned_items(found: PairedSuite, again: Predictions) -> PairedSuite:
    """A suite whose items have the answers after relearning, too."""
    suite, responses = found.suite, again.responses[found.suite.name]
    sides = [_side(suite, index, response, set()) for index, response in enumerate(responses)]
    items = (item.model_copy(update={"relearned": side}) for item, side in zip(found.items, sides, strict=True))
    return replace(found, items=tuple(items))


def _limit_option(suite: Suite) -> str:
    """Where the longest written answer of a suite is set."""
    if suite.options.get("max_new_tokens"):
        return f"max_new_tokens under options of the suite file of {suite.name}"
    return "--max-new-tokens (max_new_tokens in Python)"


def _chance(suite: Suite, items: Sequence[Item], metric: Metric, chance: Sequence[float]) -> float:
    """What can be had without reading; of what should be gone what pure guessing has."""
    return task_type_of(suite).luck(suite, metric) if suite.part == "gone" else _mean_chance(items, metric, chance)


def _mean_chance(items: Sequence[Item], metric: Metric, chance: Sequence[float]) -> float:
    """Mean probability of guessing right over the items that have the metric; 0 for what cannot be guessed."""
    return float(np.mean([chance[item.index] for item in scored_by(items, metric)])) if chance else 0.0


def set_scores(found: PairedSuite, seed: int, margins: Margins = USUAL) -> list[TaskScore]:
    """Scores of a suite as a set, from its confusion tables; the margins tell the smallest noticeable change."""
    task_type = task_type_of(found.suite)
    if not task_type.set_metrics:
        return []
    truth = np.asarray(task_type.truth(found.suite))
    before, after = (np.asarray([response.answer for response in side]) for side in (found.base, found.tuned))
    return [
        TaskScore(
            name=found.suite.name,
            metric=metric,
            n=len(truth),
            base=float(score(confusion(truth, before))),
            tuned=float(score(confusion(truth, after))),
            interval=paired_summary_interval(
                score, truth, before, after, np.random.default_rng(seed), span=metric.span or 1.0
            ),
            smallest_effect=margins.smallest_effect(metric),
        )
        for metric, score in task_type.set_metrics.items()
    ]


def breakdowns(found: PairedSuite, seed: int) -> list[Breakdown]:
    """The first metric on the parts of a suite that share a condition; none where all items do."""
    return breakdown_rows(found.columns[0], found.items, seed) if found.columns else []


def held_out_items(windows: Sequence[Window], texts: Sequence[str], sums: WindowSums) -> Iterator[Item]:
    """The windows of held-out text with both models' figures."""
    for index, (window, text) in enumerate(zip(windows, texts, strict=True)):
        tokens = sums.tokens[index]
        unread = {UNREAD: sums.unread_nll[index] / tokens} if sums.unread_nll else {}
        moved = (
            {KL_DIVERGENCE.name: sums.kl[index] / tokens, CHURN.name: sums.churn[index] / tokens}
            if sums.has_distributions
            else {}
        )
        yield Item(
            part=HELD_OUT_PART,
            suite=HELD_OUT_TEXT,
            index=index,
            condition=window.domain or None,
            question=text,
            base=Side(scores={CROSS_ENTROPY.name: sums.base_nll[index] / tokens, "tokens": float(tokens), **unread}),
            tuned=Side(scores={CROSS_ENTROPY.name: sums.tuned_nll[index] / tokens, **moved, "tokens": float(tokens)}),
        )


def domain_breakdowns(
    windows: Sequence[Window], sums: WindowSums, columns: Sequence[Column], seed: int
) -> list[Breakdown]:
    """Cross-entropy, KL and churn of the held-out text domain by domain, where there are several.

    Args:
        windows: the windows of all domains.
        sums: of the windows.
        columns: the cross-entropy of each domain, in the order in which the domains first appear.
        seed: of the resamples.
    """
    labels = np.asarray([window.domain for window in windows])
    found = []
    for domain, column in zip(dict.fromkeys(labels.tolist()), columns, strict=True):
        part = labels == domain
        if not domain or part.sum() < 2:
            continue
        tokens = sums.column("tokens")[part]
        row = breakdown_row(column, domain, seed).model_copy(update={"suite": HELD_OUT_TEXT})
        found.append(row)
        for metric, name in ((KL_DIVERGENCE, "kl"), (CHURN, "churn")) if sums.has_distributions else ():
            distance = sums.column(name)[part] / tokens
            interval = change_interval(np.zeros_like(distance), distance, np.random.default_rng(seed), tokens)
            mean = float(np.average(distance, weights=tokens))
            figures = {"metric": metric, "base": 0.0, "tuned": mean, "interval": interval}
            found.append(row.model_copy(update=figures))
    return found
