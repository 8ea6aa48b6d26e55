"""Tables of robustness: corrupted images, another style, the worst condition."""

from __future__ import annotations

from retain.records import numbers
from retain.records.base import Interval
from retain.records.result import Result
from retain.records.scores import Shift
from retain.report.claims import read_change
from retain.report.plots.breakdown import breakdown_groups
from retain.report.tables.scores_table import Table, metric_cell, reading_cell

RATIO = numbers.Unit(1.0, 2, "")
"""Errors after over errors before: two digits, for a hundred errors do not tell a third."""


def shift_tables(result: Result) -> list[Table]:
    """Corruption errors, one table a suite, then all style gaps together."""
    gaps = [found for found in result.shifts if found.measure == "style gap"]
    errors = [found for found in result.shifts if found.measure == "corruption error"]
    return [*map(_corruption_table, errors), *([_gap_table(gaps)] if gaps else [])]


def _corruption_table(found: Shift) -> Table:
    counted = sum(value is not None for value in found.by_kind.values())
    rows = [
        (
            f"all {counted} kinds, mean",
            numbers.level(found.value, found.interval, RATIO),
            _robustness(found.interval, 1.0),
        )
    ]
    rows += [
        (kind.replace("_", " "), numbers.plain(value, RATIO), numbers.MISSING) for kind, value in found.by_kind.items()
    ]
    note = (
        f"Errors after / errors before, over all severities: below 1 is more robust than the base, 1 is no change. Not "
        f"the mCE of ImageNet-C, which is relative to AlexNet. Of {numbers.count(found.n)} items the base had "
        f"{numbers.percent(found.base)} wrong, the tuned model {numbers.percent(found.tuned)}."
    )
    caption = f"{found.suite}: mean corruption error vs base, {numbers.count(found.units)} images"
    head = ("Corruption", "Error vs base [95%]", "Reading")
    return Table(caption, head, tuple(rows), f"{note} {found.note}".rstrip())


def _gap_table(gaps: list[Shift]) -> Table:
    rows = tuple(
        (
            gap.suite,
            gap.against,
            numbers.count(gap.n),
            numbers.signed(gap.base, numbers.POINTS),
            numbers.signed(gap.tuned, numbers.POINTS),
            numbers.change(gap.value, gap.interval, numbers.POINTS),
            _robustness(gap.interval, 0.0),
        )
        for gap in gaps
    )
    note = (
        "Suites of the task's own classes in another style or domain. Gap: accuracy on the task minus accuracy on the "
        "suite, in points; above 0 the suite is harder. Worse: the gap widened, because the task gained more than the "
        "suite, or the suite lost. " + " ".join(dict.fromkeys(gap.note for gap in gaps if gap.note))
    ).rstrip()
    head = ("Suite", "Task", "Items", "Gap before", "Gap after", "Change [95%]", "Reading")
    return Table("In another style: how much harder than the task", head, rows, note)


def _robustness(interval: Interval | None, no_change: float) -> str:
    """A reading of a figure of which less is better; none without an interval."""
    if interval is None:
        return numbers.MISSING
    low, high = interval
    return reading_cell(read_change((low - no_change, high - no_change), higher_is_better=False))


def worst_table(result: Result) -> Table | None:
    """The condition with the worst score after tuning, of each suite and metric that has several; null without any."""
    rows = []
    for group in breakdown_groups(result):
        if len(group) < 2:
            continue
        metric = group[0].metric
        unit, sign = metric.unit, 1 if metric.higher_is_better else -1
        after = min(group, key=lambda part: sign * part.tuned)
        before = min(group, key=lambda part: sign * part.base)
        alike = len({part.base for part in group}) == 1
        rows.append(
            (
                group[0].suite,
                metric_cell(metric),
                f"{after.condition} (of {len(group)})",
                numbers.count(after.n),
                numbers.plain(after.base, unit),
                numbers.plain(after.tuned, unit),
                numbers.change(after.tuned - after.base, after.interval, unit),
                numbers.MISSING if alike else f"{before.condition}, {numbers.plain(before.base, unit)}",
            )
        )
    note = (
        "The condition in which the tuned model does worst, with its score before and after, and the one in which the "
        "base did worst. A worst of many is partly so by luck; the interval is that of this condition by itself."
    )
    head = ("Suite", "Metric", "Worst condition", "Items", "Base", "Tuned", "Change [95%]", "Worst before")
    return Table("The worst condition", head, tuple(rows), note) if rows else None
