"""The plot of a comparison: a panel for each retention suite and one for drift, over the improvement of the task."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retain.compare.aggregate import Group, NamedResult, group_runs
from retain.compare.item_examples import readable
from retain.compare.pick import Key, keep_keys, keep_score, pick_keep, pick_kl, sign_of, task_keys
from retain.records import numbers
from retain.report.plots.panel import (
    FRONT_DASHES,
    SEEDS_FOR_BARS,
    Look,
    Measure,
    base_marker,
    draw_panel,
    rates_stand_beside,
    shared_look,
)
from retain.report.plots.place_labels import place_labels
from retain.report.plots.style import COLOURS, FAINT, INK, MARKERS, house_style, new_figure

PANEL_WIDTH, PANEL_HEIGHT = 4.8, 4.2


def comparison_measures(groups: Sequence[Group]) -> list[Measure]:
    """One panel a scored retention suite and one for KL on held-out text; none without a task."""
    results = [result for group in groups for result in group.results]
    return [*_suite_measures(groups, keep_keys(results)), *_drift_measure(groups)] if task_keys(results) else []


def measure_figure(groups: Sequence[Group], measure: Measure) -> Figure:
    """One panel alone, without a legend: the page has one for all."""
    results = [result for group in groups for result in group.results]
    with house_style():
        figure = new_figure(PANEL_WIDTH, PANEL_HEIGHT)
        axes = figure.subplots()
        look = shared_look(groups, task_keys(results)[0], method_styles(groups))
        labels, occupied = draw_panel(axes, measure, groups, look)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        place_labels(figure, axes, labels, occupied, size=8.5)
    return figure


def comparison_figure(runs: Sequence[NamedResult]) -> Figure:
    """All panels on one sheet with their legend, for a file; the first task's improvement along x."""
    groups = group_runs(runs)
    results = [run.result for run in runs]
    tasks = task_keys(results)
    measures = comparison_measures(groups)
    with house_style():
        if not tasks or not measures:
            figure = new_figure(8.4, 2.0)
            missing = "retention suite or held-out text" if tasks else "task"
            figure.text(0.5, 0.45, f"No {missing} was measured: there is no trade-off to draw.", ha="center")
            return figure
        columns = min(len(measures), 2)
        lines = math.ceil(len(measures) / columns)
        figure = new_figure(4.6 * columns + 0.4, 3.9 * lines + 1.1)
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in grid[len(measures) :]:
            axes.set_axis_off()
        look = shared_look(groups, tasks[0], method_styles(groups))
        drawn = [draw_panel(axes, measure, groups, look) for axes, measure in zip(grid, measures, strict=False)]
        _legend(figure, groups, look, wide=columns > 1)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for axes, (labels, occupied) in zip(grid, drawn, strict=False):
            place_labels(figure, axes, labels, occupied, size=8.5)
    return figure


def method_styles(groups: Sequence[Group]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each method."""
    methods = list(dict.fromkeys(group.method for group in groups))
    return {
        method: (COLOURS[index % len(COLOURS)], MARKERS[(index + index // len(COLOURS)) % len(MARKERS)])
        for index, method in enumerate(methods)
    }


def _suite_measures(groups: Sequence[Group], keys: Sequence[Key]) -> list[Measure]:
    results = [result for group in groups for result in group.results]
    found = []
    for key in keys:
        scores = [score for result in results if (score := keep_score(result, key)) is not None]
        if any(score.status == "measured" and score.base is not None for score in scores):
            unit = key[1].unit
            change = f"change in {key[1].title}, {unit.name}".rstrip(", ")
            if sign_of(results, key) < 0:
                change = change.replace("change", "fall", 1)
            label = f"{change} (up: better)"
            title = f"Kept: {readable(key[0], 30)}"
            found.append(Measure(title, label, pick_keep(key), sign_of(results, key), unit, key))
    return found


def _drift_measure(groups: Sequence[Group]) -> list[Measure]:
    if all(group.estimate(pick_kl) is None for group in groups):
        return []
    label = "KL from the base, nats per token (up: moved less)"
    return [Measure("Drift on held-out text", label, pick_kl, -1.0, numbers.NATS, None)]


def bars_words(groups: Sequence[Group]) -> str:
    """A sentence on the bars and the faint points of a comparison's plot."""
    if any(group.seeds >= SEEDS_FOR_BARS for group in groups):
        return (
            f"Bars: 95% Student-t interval of the mean over seeds, from {SEEDS_FOR_BARS} seeds on. Faint points: seeds."
        )
    return "Bars: 95% interval over items. Faint points: seeds."


def _legend(figure: Figure, groups: Sequence[Group], look: Look, *, wide: bool) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            markersize=8,
            markeredgecolor="white",
            linewidth=1.2,
            label=readable(method, 60),
        )
        for method, (colour, marker) in look.styles.items()
    ]
    base = "base, unchanged" if look.base_x == 0 else "base, unchanged: further left"
    handles.append(Line2D([], [], color=INK, marker=base_marker(look), markersize=9, linestyle="none", label=base))
    handles.append(Line2D([], [], color=FAINT, linestyle=FRONT_DASHES, label="Pareto front of the means"))
    bars = bars_words(groups)
    space = " " if wide else "\n"
    rates = f"{space}Numbers beside points: learning rates." if rates_stand_beside(groups) else ""
    title = f"{bars}{rates}"
    for columns in range(min(len(handles), 5 if wide else 2), 0, -1):
        legend = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            title=title,
            title_fontsize=9 if wide else 8,
            fontsize=9,
        )
        legend.get_title().set_color(INK)
        figure.draw_without_rendering()
        if legend.get_window_extent().width <= figure.bbox.width or columns == 1:
            return
        legend.remove()
