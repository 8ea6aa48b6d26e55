"""The page's figures: gain against what was kept with every run of a task; what was lost over what goes with it."""

from __future__ import annotations

import math
from pathlib import Path

from evidence import TEST, Draws, Task, by_rate, gain, kept
from plan import Plan
from predictors import PREDICTORS, points_lost

from retain.report.plots.style import COLOURS, FAINT, MARKERS, house_style, new_figure, save_png

DRAWN = ("KL on the new task", "KL on other text", "F_Δ")


def draw_task(plan: Plan, task: Task, path: Path) -> None:
    """A panel for each thing to be kept, every run a point, the rates of a method joined where seed 0 was run."""
    draws = Draws(task, 1, 0)
    scale, unit = (1.0, task.entry["unit"]) if task.entry["unit"].startswith("nats") else (100.0, "points")
    with house_style():
        columns = min(len(task.kept), 2)
        lines = math.ceil(len(task.kept) / columns)
        figure = new_figure(4.8 * columns, 3.9 * lines + 0.7)
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in grid[len(task.kept) :]:
            axes.set_axis_off()
        for axes, suite in zip(grid, task.kept, strict=False):
            text = suite == "text"
            present = [method for method in plan.methods if by_rate(task, method)]
            for index, method in enumerate(present):
                marker = MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]
                look = {"color": COLOURS[index % len(COLOURS)], "marker": marker}
                runs = [run for own in by_rate(task, method).values() for run in own]
                points = {
                    run.cell: (scale * float(gain(task, run, draws, TEST)[0]),
                               (-1 if text else 100) * float(kept(task, run, draws, suite)[0]))
                    for run in runs
                }  # fmt: skip
                first = [point for cell, point in points.items() if cell.seed == 0]
                axes.plot(*zip(*first, strict=True), color=look["color"], linewidth=0.8, alpha=0.5)
                axes.scatter(*zip(*points.values(), strict=True), s=22, label=plan.title(method), **look)
            axes.axhline(0 if text else 100, color=FAINT, linewidth=0.8)
            axes.set_xlabel(f"gain on the task, {unit}")
            axes.set_ylabel("KL from the base, nats per token" if text else "% of the lead over guessing that is left")
            axes.set_title("Other text" if text else suite)
            if text:
                axes.invert_yaxis()
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
        save_png(figure, path)


def draw_predictors(tasks: dict[str, Task], path: Path) -> None:
    """Points lost over each measure, every run a point."""
    with house_style():
        figure = new_figure(4.2 * len(DRAWN), 4.0)
        panels = figure.subplots(1, len(DRAWN), sharey=True)
        for axes, name in zip(panels, DRAWN, strict=True):
            for index, task in enumerate(tasks.values()):
                draws = Draws(task, 1, 0)
                pairs = [
                    (value, points_lost(task, run, draws))
                    for run in task.runs.values()
                    if (value := PREDICTORS[name](run))
                ]
                if pairs:
                    axes.scatter(
                        *zip(*pairs, strict=True), s=20, color=COLOURS[index], marker=MARKERS[index], label=task.name
                    )
            axes.set_xscale("log")
            axes.set_xlabel(name)
        panels[0].set_ylabel("points lost, mean over suites")
        panels[0].legend(fontsize=8)
        save_png(figure, path)
