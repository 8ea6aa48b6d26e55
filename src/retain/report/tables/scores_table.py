"""The tables of one run as plain text cells, for Markdown and the page alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retain.records import numbers
from retain.records.gone_record import GoneScore
from retain.records.metric import Metric
from retain.records.result import Result
from retain.records.scores import KeepScore, TaskScore
from retain.report.claims import SYMBOLS, Reading, read_keep, read_task


@dataclass(frozen=True)
class Table:
    """A table: what it shows, its column heads, its rows (the first cell names the row), a note beneath.

    On a page, row i may lead to `links[i]` and be led to as `anchors[i]`; both are empty or as long as `rows`.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    links: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()


def reading_cell(reading: Reading) -> str:
    """A reading with a sign before it, so that it is found without colour."""
    return f"{SYMBOLS[reading]} {reading}"


def score_tables(result: Result) -> list[Table]:
    """The tables of scores: the task's, and the retention suites'."""
    tables = []
    if result.task:
        tables.append(_task_table(result.task))
    if result.keep:
        tables.append(_keep_table(result.keep))
    return tables


def metric_cell(metric: Metric) -> str:
    """A metric with its unit and, where it is not the usual one, the good direction."""
    unit = metric.unit.name
    extra = ", ".join(part for part in (unit, "" if metric.higher_is_better else "lower is better") if part)
    return f"{metric.title} ({extra})" if extra else metric.title


def _task_table(scores: tuple[TaskScore, ...]) -> Table:
    rows = []
    for score in scores:
        unit = score.metric.unit
        rows.append(
            (
                score.name,
                metric_cell(score.metric),
                numbers.count(score.n),
                numbers.plain(score.base, unit),
                numbers.plain(score.tuned, unit),
                numbers.change(score.tuned - score.base, score.interval, unit),
                reading_cell(read_task(score)),
            )
        )
    head = ("Task", "Metric", "Items", "Base", "Tuned", "Change [95%]", "Reading")
    return Table("What it learned: the task on held-out data", head, tuple(rows), cut_off_note(scores))


def _keep_table(scores: tuple[KeepScore, ...]) -> Table:
    head = (
        *("Retention suite", "Metric", "Items", "Base", "Tuned", "Change [95%]"),
        *("Lost", "Gained", "p", "Retention [95%]", "Reading"),
    )
    note = (
        "Lost: right before, wrong now. Gained: wrong before, right now. p: exact McNemar test of lost against gained. "
        "Retention: the tuned model's lead over chance as a share of the base's."
    )
    return Table(
        "What it kept: the same questions before and after", head, tuple(map(keep_row, scores)), _joined(note, scores)
    )


def _joined(note: str, scores: Sequence[KeepScore]) -> str:
    return " ".join(part for part in (note, cut_off_note(scores)) if part)


def cut_off_note(scores: Sequence[TaskScore | KeepScore | GoneScore]) -> str:
    """How many written answers of each suite were cut off; empty where none was."""
    counted = {score.name: score.cut_off for score in scores if score.cut_off is not None}
    cut = {name: one for name, one in counted.items() if one.base or one.tuned}
    return " ".join(f"{name}: {one.sentence}" for name, one in cut.items())


def keep_row(score: KeepScore) -> tuple[str, ...]:
    """One retention suite's cells."""
    unit = score.metric.unit
    change = None if score.base is None or score.tuned is None else score.tuned - score.base
    return (
        score.name,
        metric_cell(score.metric),
        numbers.count(score.n),
        numbers.plain(score.base, unit),
        numbers.plain(score.tuned, unit),
        numbers.change(change, score.interval, unit),
        numbers.percent(score.lost),
        numbers.percent(score.gained),
        numbers.p_value(score.p_value),
        numbers.percent(score.retention, score.retention_interval),
        reading_cell(read_keep(score)),
    )
