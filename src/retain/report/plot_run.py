"""The plot of one run: the change in each suite with its interval, better to the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retain.report import numbers
from retain.report.examples import readable
from retain.report.plot_style import BETTER, FAINT, INK, WORSE, house_style, new_figure
from retain.report.words import SYMBOLS, Reading, read_keep, read_task, subtitle
from retain.results import Interval, KeepScore, Result, TaskScore

_COLOURS = {"better": BETTER, "worse": WORSE}


@dataclass(frozen=True)
class _Row:
    name: str
    improvement: float | None
    interval: Interval | None
    reading: Reading
    unit: numbers.Unit


def run_figure(result: Result) -> Figure:
    """One panel a unit for the task, one a unit for what was kept; rows are suites."""
    panels = [
        *_panels("What it learned", result.task, [read_task(score) for score in result.task]),
        *_panels("What it kept", result.keep, [read_keep(score) for score in result.keep]),
    ]
    with house_style():
        heights = [len(rows) + 1.6 for _, _, rows in panels] or [2.0]
        figure = new_figure(8.8, 0.7 + 0.46 * sum(heights))
        figure.suptitle(readable(subtitle(result), 90) or "", x=0.01, ha="left", fontsize=11)
        if not panels:
            figure.text(0.5, 0.45, "Neither a task nor a keep suite was measured.", ha="center", color=INK)
            return figure
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, (title, unit, rows) in zip(axes, panels, strict=True):
            _draw(panel, title, unit, rows)
        figure.align_xlabels(axes)
    return figure


def _panels(
    title: str, scores: Sequence[TaskScore | KeepScore], readings: Sequence[Reading]
) -> list[tuple[str, str, list[_Row]]]:
    by_unit: dict[str, list[_Row]] = {}
    for score, reading in zip(scores, readings, strict=True):
        sign = 1.0 if score.higher_is_better else -1.0
        unit = numbers.unit_of(score.metric)
        improvement = None if score.base is None or score.tuned is None else sign * (score.tuned - score.base)
        ends = None if score.interval is None else sorted(sign * end for end in score.interval)
        name = f"{readable(score.name, 28)}\n{numbers.metric_words(score.metric)}, n = {numbers.count(score.n)}"
        interval = None if ends is None else (ends[0], ends[1])
        by_unit.setdefault(unit.name, []).append(_Row(name, improvement, interval, reading, unit))
    return [(title, unit, rows) for unit, rows in by_unit.items()]


def _draw(axes: Axes, title: str, unit: str, rows: Sequence[_Row]) -> None:
    axes.set_title(title)
    axes.axvline(0, color=INK, linewidth=1)
    axes.grid(visible=True, axis="x")
    for position, row in enumerate(rows):
        _draw_row(axes, position, row)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    ends = [end * row.unit.factor for row in rows for end in (row.interval or ())] + [
        row.improvement * row.unit.factor for row in rows if row.improvement is not None
    ]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.08 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    axes.set_xlabel(f"improvement{f', {unit}' if unit else ''} (right of 0: better than the base)", fontsize=9)


def _draw_row(axes: Axes, position: int, row: _Row) -> None:
    unit = row.unit
    colour = _COLOURS.get(row.reading, FAINT)
    if row.improvement is None:
        _beside(axes, position, f"not scored\n{SYMBOLS[row.reading]} {row.reading}", FAINT)
        return
    x = row.improvement * unit.factor
    if row.interval is not None:
        low, high = (end * unit.factor for end in row.interval)
        axes.plot([low, high], [position, position], color=colour, linewidth=2.2, solid_capstyle="butt")
    shown = row.reading in _COLOURS
    axes.plot(
        *([x], [position]),
        marker="o",
        markersize=8,
        color=colour,
        markerfacecolor=colour if shown else "white",
        markeredgewidth=1.8,
    )
    improved = numbers.change(row.improvement, row.interval, unit)
    _beside(axes, position, f"{improved}\n{SYMBOLS[row.reading]} {row.reading}", INK)


def _beside(axes: Axes, position: int, text: str, colour: str) -> None:
    place = axes.get_yaxis_transform()
    axes.text(1.02, position, text, color=colour, transform=place, va="center", fontsize=9)
