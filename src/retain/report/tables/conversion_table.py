"""What training changed and what the conversion changed, suite by suite."""

from __future__ import annotations

from retain.records import numbers
from retain.records.conversion_record import Step
from retain.records.numbers import Unit
from retain.records.result import Result
from retain.report.tables.scores_table import Table


def conversion_tables(result: Result) -> list[Table]:
    """The steps of every score; none where no converted model was measured."""
    found = result.conversion
    if found is None:
        return []
    rows = tuple(
        (
            score.name,
            score.metric.title
            + (", should be gone" if score.part == "gone" else "")
            + ("" if score.metric.higher_is_better else ", lower is better"),
            numbers.count(score.n),
            *(numbers.plain(value, score.metric.unit) for value in (score.base, score.tuned, score.converted)),
            *(_cell(step, score.metric.unit) for step in (score.training, score.conversion, score.total)),
        )
        for score in found.scores
    )
    head = ("Suite", "Metric", "Items", "Base", "Tuned", "Converted", "By training", "By conversion", "Together")
    note = (
        "Each change is a mean over the same items with its 95% interval, paired item by item; by training and by "
        "conversion add up to both together."
    )
    return [Table(f"What training and what conversion changed ({found.what}: {found.source})", head, rows, note)]


def _cell(step: Step, unit: Unit) -> str:
    return numbers.change(step.change, step.interval, unit)
