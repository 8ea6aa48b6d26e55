"""The one image of a run: the change in each suite with its interval, better to the right; it fits a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retain.compare.item_examples import readable
from retain.records import numbers
from retain.records.base import Interval
from retain.records.result import Result
from retain.records.scores import KeepScore, TaskScore
from retain.report.claims import read_keep, read_task
from retain.report.plots.style import BETTER, FAINT, INK, WORSE, house_style, new_figure
from retain.report.tables.scores_table import reading_cell
from retain.report.verdict_words import deciding_score, verdict_cell

_COLOURS = {"better": BETTER, "kept": BETTER, "worse": WORSE, "lost": WORSE, "changed format": WORSE}
WIDTH = 4.4
ROW_INCHES = 0.55
LONGEST_NAME = 32
_CLEAR = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
"""Lines stop behind the words."""


@dataclass(frozen=True)
class _Row:
    name: str
    improvement: float | None
    interval: Interval | None
    outcome: str
    told: str
    unit: numbers.Unit
    margin: float | None = None


def run_figure(result: Result) -> Figure:
    """One panel a unit for the task, one a unit for what was kept; rows are suites.

    Where a verdict was given, each suite has one row, that of the metric which decided it, with the margin marked.
    """
    panels = [
        *_by_unit("What it learned", [_row(score, read_task(score)) for score in result.task]),
        *_by_unit("What it kept", _keep_rows(result)),
    ]
    with house_style():
        heights = [len(rows) * ROW_INCHES + 0.95 for _, _, rows in panels] or [1.0]
        figure = new_figure(WIDTH, sum(heights))
        if not panels:
            figure.text(0.5, 0.45, "Neither a task nor a retention suite was measured.", ha="center", color=INK)
            return figure
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, (title, unit, rows) in zip(axes, panels, strict=True):
            _draw(panel, title, unit, rows)
    return figure


def _keep_rows(result: Result) -> list[_Row]:
    judged = result.judgement
    if judged is None or not judged.suites:
        return [_row(score, read_keep(score)) for score in result.keep]
    rows = []
    for verdict in judged.suites:
        score = deciding_score(result.keep, verdict)
        if score is not None:
            rows.append(_row(score, verdict.verdict, verdict_cell(verdict.verdict), verdict.margin))
    return rows


def _row(score: TaskScore | KeepScore, outcome: str, told: str = "", margin: float | None = None) -> _Row:
    sign = 1.0 if score.metric.higher_is_better else -1.0
    improvement = None if score.base is None or score.tuned is None else sign * (score.tuned - score.base)
    ends = None if score.interval is None else sorted(sign * end for end in score.interval)
    return _Row(
        name=readable(f"{score.name}: {score.metric.title}", LONGEST_NAME) or "",
        improvement=improvement,
        interval=None if ends is None else (ends[0], ends[1]),
        outcome=outcome,
        told=told or reading_cell(read_task(score) if isinstance(score, TaskScore) else read_keep(score)),
        unit=score.metric.unit,
        margin=margin,
    )


def _by_unit(title: str, rows: Sequence[_Row]) -> list[tuple[str, str, list[_Row]]]:
    by_unit: dict[str, list[_Row]] = {}
    for row in rows:
        by_unit.setdefault(row.unit.name, []).append(row)
    return [(title, unit, of_unit) for unit, of_unit in by_unit.items()]


def _draw(axes: Axes, title: str, unit: str, rows: Sequence[_Row]) -> None:
    axes.set_title(title)
    axes.axvline(0, color=INK, linewidth=1)
    axes.grid(visible=True, axis="x")
    for position, row in enumerate(rows):
        _draw_row(axes, position, row)
    axes.set_yticks([])
    axes.set_ylim(len(rows) - 0.45, -0.75)
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelsize=9)
    ends = [end * row.unit.factor for row in rows for end in (row.interval or ())]
    ends += [row.improvement * row.unit.factor for row in rows if row.improvement is not None]
    ends += [-row.margin * row.unit.factor for row in rows if row.margin is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.08 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    marked = "; dotted: margin" if any(row.margin is not None for row in rows) else ""
    axes.set_xlabel(f"improvement{f', {unit}' if unit else ''} (right: better{marked})", fontsize=9)


def _draw_row(axes: Axes, position: int, row: _Row) -> None:
    """The words of a row above its line: the name to the left, the figures to the right."""
    unit = row.unit
    colour = _COLOURS.get(row.outcome, FAINT)
    place = axes.get_yaxis_transform()
    axes.text(0.0, position - 0.3, row.name, color=INK, transform=place, va="center", fontsize=9, bbox=_CLEAR)
    if row.improvement is None:
        told = f"{row.told}, not scored"
        axes.text(
            1.0, position + 0.1, told, color=FAINT, transform=place, va="center", ha="right", fontsize=9, bbox=_CLEAR
        )
        return
    told = f"{numbers.signed(row.improvement, unit)}  {row.told}"
    axes.text(1.0, position - 0.3, told, color=INK, transform=place, va="center", ha="right", fontsize=9, bbox=_CLEAR)
    if row.interval is not None:
        low, high = (end * unit.factor for end in row.interval)
        axes.plot([low, high], [position + 0.1] * 2, color=colour, linewidth=2.4, solid_capstyle="butt")
    if row.margin is not None:
        edge = -row.margin * unit.factor
        axes.plot([edge, edge], [position - 0.1, position + 0.3], color=INK, linewidth=1.4, linestyle=(0, (1, 1)))
    filled = colour if row.outcome in _COLOURS else "white"
    axes.plot(
        *([row.improvement * unit.factor], [position + 0.1]),
        marker="o",
        markersize=8,
        color=colour,
        markerfacecolor=filled,
        markeredgewidth=1.8,
    )
