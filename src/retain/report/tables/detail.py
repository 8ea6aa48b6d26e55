"""Scores in detail, as tables: by condition, and how well confidence fits."""

from __future__ import annotations

from collections.abc import Sequence

from retain.records import numbers
from retain.records.result import Result
from retain.records.scores import Breakdown, CalibrationScore
from retain.report.claims import read_change
from retain.report.plots.breakdown import breakdown_groups
from retain.report.tables.scores_table import Table, metric_cell, reading_cell


def breakdown_tables(result: Result) -> list[Table]:
    """One table a suite and metric, one row a condition."""
    return [_breakdown_table(group) for group in breakdown_groups(result)]


def _breakdown_table(group: Sequence[Breakdown]) -> Table:
    metric = group[0].metric
    unit = metric.unit
    rows = tuple(
        (
            part.condition,
            numbers.count(part.n),
            numbers.plain(part.base, unit),
            numbers.plain(part.tuned, unit),
            numbers.change(part.tuned - part.base, part.interval, unit),
            _reading(part),
        )
        for part in group
    )
    caption = f"{group[0].suite} by condition: {metric_cell(metric)}"
    head = ("Condition", "Items", "Base", "Tuned", "Change vs base [95%]", "Reading")
    note = "Each interval stands by itself: of many conditions, one in twenty looks changed by luck alone."
    return Table(caption, head, rows, note)


def _reading(part: Breakdown) -> str:
    if part.interval is None:
        return numbers.MISSING
    return reading_cell(read_change(part.interval, higher_is_better=part.metric.higher_is_better))


def calibration_table(result: Result) -> Table | None:
    """ECE, Brier score and NLL of both sides on each suite; null where they were not measured."""
    if not result.calibration:
        return None
    rows = tuple(_calibration_row(found) for found in result.calibration)
    note = (
        "ECE: mean gap between how sure the model is and how often it is right (15 bins of equal size); with few items "
        "it is above 0 even for a perfect model. Brier score and NLL (nats): lower is better."
    )
    head = ("Suite", "Side", "Items", "ECE", "Brier", "NLL")
    return Table("How well its confidence fits", head, rows, note)


def _calibration_row(found: CalibrationScore) -> tuple[str, ...]:
    return (
        found.suite,
        found.side,
        numbers.count(found.n),
        numbers.percent(found.ece),
        numbers.plain(found.brier, numbers.OTHER),
        numbers.plain(found.nll, numbers.NATS),
    )
