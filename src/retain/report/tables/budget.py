"""The budget and the scaled update in words and tables: limits, outcome, and scores at each coefficient."""

from __future__ import annotations

from collections.abc import Sequence

from retain.records import numbers
from retain.records.budget_record import BudgetRecord, Scaling, ScalingPoint
from retain.records.result import Result
from retain.report.tables.scores_table import Table, metric_cell


def budget_sentence(result: Result) -> str:
    """The outcome of the budget in a sentence; empty where none was stated."""
    return "" if result.scaling is None or not result.budget else kept_sentence(result.budget, result.scaling)


def kept_sentence(budget: Sequence[BudgetRecord], scaling: Scaling) -> str:
    """The promise as kept at the setting delivered, or by how much it was missed."""
    if scaling.alpha > 0:
        sure = f"{100 * budget[0].confidence:g}% confidence"
        limits = ", ".join(f"{one.name} ≤ {amount(one.limit, one)}" for one in budget)
        part = "all that was trained" if scaling.alpha == 1 else f"{100 * scaling.alpha:g}% of the update"
        return f"Budget kept ({sure}): {limits}, with {part}."
    first = f"α = {scaling.alphas[0]:g}, the safest tried" if scaling.alphas else "any setting"
    missed = "; ".join(_missed(one) for one in budget if not one.kept)
    return f"Budget not kept, no adapter was delivered: at {first}, the loss may be {missed}."


def _missed(one: BudgetRecord) -> str:
    """By how much a limit was missed, and whether more control data would help."""
    told = f"{amount(one.bound, one)} on {one.name} (limit {amount(one.limit, one, named=False)}"
    if one.observed >= one.limit:
        return f"{told}; what was observed is no less, so more items would not help)"
    if one.items_needed is None:
        return f"{told})"
    return f"{told}; {numbers.count(one.items_needed)} control units in all would settle it if rates stayed)"


def budget_tables(result: Result) -> list[Table]:
    """The limits with their certificates, and the curve along the scaling path."""
    return scaling_tables(result.budget, result.scaling)


def scaling_tables(budget: Sequence[BudgetRecord], scaling: Scaling | None) -> list[Table]:
    """As `budget_tables`, of `retain scale`."""
    limits = [_limits(budget, "" if scaling is None else scaling.note)] if budget else []
    return limits + ([_curve(scaling, noted=not budget)] if scaling is not None and scaling.curve else [])


def _limits(budget: Sequence[BudgetRecord], told: str) -> Table:
    head = ("Limit on", "Limit", "Lost at most", "Observed", "Control units", "Kept", "Units needed", "Test")
    rows = tuple(
        (
            one.name,
            amount(one.limit, one),
            amount(one.bound, one),
            amount(one.observed, one),
            numbers.count(one.n),
            "✓ kept" if one.kept else "▼ not shown",
            numbers.MISSING if one.items_needed is None else numbers.count(one.items_needed),
            one.method + (f"; {one.clipped} cut off above" if one.clipped else ""),
        )
        for one in budget
    )
    note = (
        f"Lost at most: the upper bound at {100 * budget[0].confidence:g}% confidence, from control data that neither "
        "training nor calibration nor the scores of this report saw. It holds for data like these."
    )
    return Table("Budget", head, rows, f"{note} {told}".strip())


def _curve(scaling: Scaling, *, noted: bool) -> Table:
    head = ("Scale α", "Measured on", "Metric", "Items", "Base", "There", "Loss [95%]", "Lost at most", "Kept")
    rows = tuple(_curve_row(point) for point in scaling.curve)
    note = (
        "α scales the update: 0 is the base, 1 all that was trained. Loss: how much worse than the base. Drawn: grey "
        "the 95% intervals, orange the bounds (lost at most) and the limits, green the setting delivered."
    )
    return Table("Along the scaling path", head, rows, f"{note} {scaling.note if noted else ''}".strip())


def _curve_row(point: ScalingPoint) -> tuple[str, ...]:
    unit = point.metric.unit
    return (
        f"{point.alpha:g}",
        point.name if point.part != "task" else f"{point.name} (task)",
        metric_cell(point.metric),
        numbers.count(point.n),
        numbers.plain(point.base, unit),
        numbers.plain(point.tuned, unit),
        numbers.change(point.loss, point.interval, unit),
        numbers.plain(point.bound, unit),
        {True: "✓ kept", False: "▼ not shown", None: numbers.MISSING}[point.kept],
    )


def amount(value: float, one: BudgetRecord, *, named: bool = True) -> str:
    """A figure of a limit, with its unit; of nats below a hundredth one digit that counts, or more."""
    if one.unit == "points":
        text = f"{value:.1f}"
    else:
        text = f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
    return f"{text} {one.unit}".replace("-", numbers.MINUS) if named else text.replace("-", numbers.MINUS)
