"""Scores by condition: corruptions by severity as a heat map, other conditions as changes with their intervals."""

from __future__ import annotations

import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from retain.compare.item_examples import readable
from retain.records import numbers
from retain.records.result import Result
from retain.records.scores import Breakdown
from retain.report.claims import read_change
from retain.report.plots.style import BETTER, FAINT, INK, WORSE, Panel

MOST_PANELS, MOST_ROWS = 8, 40
_GRADED = re.compile(r"^(?P<kind>.+)/(?P<severity>\d+)$")


def breakdown_groups(result: Result) -> list[list[Breakdown]]:
    """The breakdowns of each suite and metric together, in order of appearance."""
    keys = dict.fromkeys((found.suite, found.metric) for found in result.breakdowns)
    return [[found for found in result.breakdowns if (found.suite, found.metric) == key] for key in keys]


def breakdown_panels(result: Result) -> list[Panel]:
    """One drawing a suite and metric, at most eight; the tables have them all."""
    groups = breakdown_groups(result)[:MOST_PANELS]
    return [_panel(group) for group in groups]


def _panel(group: Sequence[Breakdown]) -> Panel:
    found = [_GRADED.match(part.condition) for part in group]
    graded = [match for match in found if match is not None]
    kinds = list(dict.fromkeys(match["kind"] for match in graded))
    severities = sorted({int(match["severity"]) for match in graded})
    if len(graded) == len(group) and len(severities) > 1:
        return _map_panel(group, kinds, severities)
    return _bars_panel(group)


def _title(group: Sequence[Breakdown]) -> str:
    return readable(f"{group[0].suite}: {group[0].metric.title}", 36) or ""


def _map_panel(group: Sequence[Breakdown], kinds: Sequence[str], severities: Sequence[int]) -> Panel:
    unit = group[0].metric.unit
    grid = np.full((len(kinds), len(severities)), np.nan)
    for part in group:
        kind, severity = part.condition.rsplit("/", 1)
        grid[kinds.index(kind), severities.index(int(severity))] = unit.factor * (part.tuned - part.base)

    def draw(axes: Axes) -> None:
        reach = float(np.nanmax(np.abs(grid))) or 1.0
        axes.pcolormesh(
            np.ma.masked_invalid(grid), cmap=mpl.colormaps["PuOr"], vmin=-1.3 * reach, vmax=1.3 * reach,
            edgecolors="white", linewidth=0.6,
        )  # fmt: skip
        for row, column in np.ndindex(*grid.shape):
            if not np.isnan(grid[row, column]):
                told = numbers.signed(float(grid[row, column]) / unit.factor, unit)
                axes.text(column + 0.5, row + 0.5, told, ha="center", va="center", fontsize=8, color="#000000")
        axes.invert_yaxis()
        axes.set_yticks(np.arange(len(kinds)) + 0.5, [kind.replace("_", " ") for kind in kinds], fontsize=8)
        axes.set_xticks(np.arange(len(severities)) + 0.5, [str(step) for step in severities], fontsize=8)
        axes.set_xlabel(f"severity (change vs base{_of(unit)})", fontsize=9)
        axes.set_title(_title(group), fontsize=10)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)

    caption = f"Change of each corruption at each severity against the base{_of(unit)}; violet is up, orange is down."
    return Panel(caption, 4.8, 1.2 + 0.27 * len(kinds), draw)


def _bars_panel(group: Sequence[Breakdown]) -> Panel:
    unit = group[0].metric.unit
    shown = sorted(group, key=lambda part: (part.tuned - part.base) * (1 if group[0].metric.higher_is_better else -1))[
        :MOST_ROWS
    ]

    def draw(axes: Axes) -> None:
        for row, part in enumerate(shown):
            reading = read_change(part.interval, higher_is_better=part.metric.higher_is_better)
            colour = {"better": BETTER, "worse": WORSE}.get(reading, FAINT)
            if part.interval is not None:
                axes.plot([end * unit.factor for end in part.interval], [row, row], color=colour, linewidth=2)
            axes.plot([(part.tuned - part.base) * unit.factor], [row], marker="o", color=colour, markersize=6)
        axes.axvline(0, color=INK, linewidth=1)
        axes.grid(visible=True, axis="x")
        names = [f"{readable(part.condition, 24)} (n = {numbers.count(part.n)})" for part in shown]
        axes.set_yticks(range(len(shown)), names, fontsize=8)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.tick_params(labelsize=8, axis="x")
        axes.tick_params(length=0, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"change vs base{_of(unit)}", fontsize=9)
        axes.set_title(_title(group), fontsize=10)

    more = f" The {MOST_ROWS} worst of {len(group)}." if len(group) > MOST_ROWS else ""
    caption = f"Change of each condition against the base with its 95% interval, worst first.{more}"
    return Panel(caption, 4.8, 1.2 + 0.27 * len(shown), draw)


def _of(unit: numbers.Unit) -> str:
    return f", {unit.name}" if unit.name else ""
