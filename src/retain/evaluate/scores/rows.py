"""The rows of a record that show a column: views of its evidence, with the rules on when no score is due."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retain.errors import InputError
from retain.records.base import Interval
from retain.records.items import Item
from retain.records.scores import Breakdown, KeepScore, TaskScore
from retain.stats.clusters import cluster_codes
from retain.stats.mcnemar import detectable_loss
from retain.stats.retention import grouped_retention, retention, retention_interval
from retain.verdict.column import Column, scored_by
from retain.verdict.evidence import Evidence, evaluate
from retain.verdict.status import status_of
from retain.verdict.verdict import USUAL, Margins

FEWEST_OF_A_CONDITION = 10
"""A part of a suite with fewer items is not shown by itself."""

NO_INTERVAL = "The base is too near to chance for an interval of the retention."


def task_row(evidence: Evidence, margins: Margins = USUAL) -> TaskScore:
    """The row of the task by one metric.

    Args:
        evidence: of that metric.
        margins: tell the smallest noticeable change.

    Raises:
        InputError: there are too few items for an interval.
    """
    if evidence.n < 2 or evidence.interval is None:
        units = min(evidence.n, evidence.groups)
        raise InputError(
            f"task {evidence.suite!r} has {units} test item(s): an interval needs at least two; give more."
        )
    return TaskScore(
        name=evidence.suite,
        metric=evidence.metric,
        n=evidence.n,
        base=evidence.base,
        tuned=evidence.tuned,
        interval=evidence.interval,
        smallest_effect=margins.smallest_effect(evidence.metric),
        cut_off=evidence.cut_off,
    )


def keep_row(column: Column, seed: int) -> tuple[Evidence, KeepScore]:
    """The evidence on a retention suite by one metric, and its row.

    Retention is given for right-or-wrong metrics whose base is above chance; no score where the suite is too small, see
    `status_of`.

    Args:
        column: values before and after.
        seed: of the resamples.
    """
    generator = np.random.default_rng(seed)
    evidence = evaluate(column, generator)
    status, note = status_of(evidence)
    counted = evidence.metric.right_or_wrong
    chance = column.chance if counted else 0.0
    detectable = detectable_loss(evidence.groups) if counted else None
    score = KeepScore(
        name=column.suite,
        metric=column.metric,
        n=evidence.n,
        chance=chance,
        status=status,
        detectable_loss=detectable,
        units=evidence.groups,
        cut_off=evidence.cut_off,
        note=note,
    )
    if status == "too few items":
        return evidence, score
    found: dict[str, object] = {"base": evidence.base, "tuned": evidence.tuned}
    found |= {"p_value": evidence.p_value, "interval": evidence.interval}
    if evidence.lost is not None and evidence.gained is not None:
        found |= {"lost": evidence.lost / evidence.n, "gained": evidence.gained / evidence.n}
    if counted and status == "measured":
        ends = _retention_interval(column, evidence, generator)
        left = retention(evidence.base, evidence.tuned, chance)
        found |= {"retention": left, "retention_interval": ends, "note": "" if ends else NO_INTERVAL}
    return evidence, score.model_copy(update=found)


def _retention_interval(column: Column, evidence: Evidence, generator: np.random.Generator) -> Interval | None:
    base, tuned = column.base == 1, column.tuned == 1
    if evidence.groups == evidence.n or evidence.interval is None:
        return retention_interval(base, tuned, column.chance, generator)
    codes = cluster_codes(column.groups, evidence.n)
    right, sizes = np.bincount(codes, base), np.bincount(codes)
    return grouped_retention(right, sizes, column.chance, evidence.interval, generator)


def breakdown_row(column: Column, condition: str, seed: int) -> Breakdown:
    """One metric on the items that share a condition."""
    evidence = evaluate(column, np.random.default_rng(seed))
    return Breakdown(
        suite=column.suite,
        metric=column.metric,
        condition=condition,
        n=evidence.n,
        base=evidence.base,
        tuned=evidence.tuned,
        interval=evidence.interval,
    )


def breakdown_rows(column: Column, items: Sequence[Item], seed: int) -> list[Breakdown]:
    """One metric on the parts of a suite that share a condition; none where all items do.

    Args:
        column: of the metric.
        items: of the suite.
        seed: of the resamples.
    """
    if len({item.condition for item in items} - {None}) < 2:
        return []
    labels = np.asarray([item.condition or "(none)" for item in scored_by(items, column.metric)])
    parts = ((condition, labels == condition) for condition in dict.fromkeys(labels.tolist()))
    return [
        breakdown_row(column.where(part), condition, seed)
        for condition, part in parts
        if part.sum() >= FEWEST_OF_A_CONDITION
    ]
