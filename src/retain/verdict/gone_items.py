"""The evidence on a suite of what should be gone from its items, and what the answers to them are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retain.records.gone_record import DECLINED
from retain.records.items import Item, Side
from retain.records.metric import Metric
from retain.records.scores import CutOff
from retain.verdict.column import Column, column_of_items, scored_by
from retain.verdict.gone import GoneEvidence, gone_evidence


class Scored(Protocol):
    """What names a column of items: a score of the record."""

    @property
    def name(self) -> str:
        """The suite."""

    @property
    def metric(self) -> Metric:
        """The metric."""

    @property
    def chance(self) -> float:
        """Mean probability of guessing right."""

    @property
    def cut_off(self) -> CutOff | None:
        """Written answers that were cut off, with their limit."""


def gone_of_items(score: Scored, items: Sequence[Item], *, suites: int) -> GoneEvidence:
    """The evidence of a record's items.

    Args:
        score: of the record; only its metric, its chance and the limit of answers are read.
        items: of its suite.
        suites: of what should be gone in the report.
    """
    limit = score.cut_off or CutOff(written=0)
    column = column_of_items(score.name, score.metric, items, score.chance, limit.limit, limit.option)
    return gone_of_column(column, items, suites=suites)


def gone_of_column(column: Column, items: Sequence[Item], *, suites: int) -> GoneEvidence:
    """The evidence of a column, with what the items tell of their answers.

    Args:
        column: of one metric.
        items: of its suite.
        suites: of what should be gone in the report.
    """
    sides = [item.tuned for item in scored_by(items, column.metric)]
    if not all(DECLINED in side.scores for side in sides):
        return gone_evidence(column, suites=suites)
    declined = np.asarray([side.scores[DECLINED] == 1 for side in sides], dtype=bool)
    silent = np.asarray([_is_silent(side) for side in sides], dtype=bool)
    return gone_evidence(column, declined, silent, np.asarray([bool(side.cut_off) for side in sides]), suites=suites)


def after_relearning(column: Column, items: Sequence[Item]) -> Column | None:
    """The column whose tuned values are those after relearning; None where that was not asked."""
    sides = [item.relearned for item in scored_by(items, column.metric)]
    if any(side is None or column.metric.name not in side.scores for side in sides):
        return None
    values: NDArray[np.float64] = np.asarray([side.scores[column.metric.name] for side in sides if side is not None])
    return Column(
        column.suite, column.metric, column.base, values, column.chance, column.weights, column.groups, None, None
    )


def _is_silent(side: Side) -> bool:
    return not (side.answer or "").strip()
