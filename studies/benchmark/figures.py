"""The page's figures: gain against what was kept with every run of a task; what was lost over what goes with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from evidence import TEXT, Draws, Run, Task, base_level, by_rate, gain, kept, text_kl
from front import TASK, curves
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from plan import Plan
from predictors import PREDICTORS, points_lost

from retain.report.plots.style import COLOURS, FAINT, INK, MARKERS, house_style, new_figure, save_png

DRAWN = {
    "KL on the new task": "KL on the new task's inputs, nats per token",
    "KL on other text": "KL on other text, nats per token",
    "F_Δ": "F_Δ, how far layers' outputs moved",
}
PALETTE = (*COLOURS, "#7f7f7f", "#b22222", "#a6a600", "#000080")
BELOW = 0.2
"""Runs that lost more of the task than this share of the largest gain are drawn at the left edge, hollow."""

Look = Mapping[str, Any]
Runs = Sequence[tuple[Run, float, float]]
"""Runs with their places, along and up."""


def draw_task(plan: Plan, task: Task, shown: Sequence[str], path: Path) -> None:
    """Draw some methods of a task.

    A panel for each thing to be kept, every run a point, the rates of a method joined where seed 0 was run.

    Where the gain is in nats the loss that is left is drawn instead, on a logarithmic axis: the last tenths of a gain
    are where methods part, and a gain of 4.0 or 4.2 nats looks alike.
    """
    once = Draws(task, 1, 0)
    looks = looks_of(sorted(shown, key=wave_order(plan)))
    gains = {cell: float(gain(task, run, once)[0]) for cell, run in task.runs.items()}
    worst = -BELOW * max(0.0, *gains.values())
    axis = Axis.of(task, once)
    edge = axis.at(worst)
    with house_style():
        columns = min(len(task.kept), 2)
        lines = math.ceil(len(task.kept) / columns)
        figure = new_figure(4.8 * columns, 3.9 * lines + 0.3 * math.ceil((2 + len(looks)) / 4))
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in grid[len(task.kept) :]:
            axes.set_axis_off()
        for axes, suite in zip(grid, task.kept, strict=False):
            text = suite == TEXT
            for method, look in looks.items():
                runs = [run for own in by_rate(task, method).values() for run in own]
                up = [(-1 if text else 100) * float(kept(task, run, once, suite)[0]) for run in runs]
                places = [axis.at(max(gains[run.cell], worst)) for run in runs]
                draw_method(axes, list(zip(runs, places, up, strict=True)), look, edge)
            draw_base(axes, axis.at(0.0), 0 if text else 100)
            axis.set(axes)
            axes.set_ylabel("KL from the base, nats per token" if text else "% of the lead over guessing that is left")
            axes.set_title("other text (up is better)" if text else suite)
            if text:
                axes.invert_yaxis()
        draw_legend(figure, plan, looks, hollow=min(gains.values()) < worst)
        save_png(figure, path)


@dataclass(frozen=True)
class Axis:
    """The axis along which a task's runs are drawn.

    Attributes:
        unit: of the gain.
        scale: what a gain is multiplied by.
        loss: of the base, where the gain is in nats and what is left of it is drawn; None where the gain is drawn.
    """

    unit: str
    scale: float
    loss: float | None

    @classmethod
    def of(cls, task: Task, once: Draws) -> Axis:
        """The axis of a task."""
        base = base_level(task, once) if task.entry["unit"].startswith("nats") else None
        return cls(task.entry["unit"], task.shown[0], base)

    def at(self, gain: float) -> float:
        """The place of a gain."""
        return self.scale * gain if self.loss is None else self.loss - gain

    def set(self, axes: Axes) -> None:
        """Name it, and let better be right."""
        if self.loss is None:
            axes.set_xlabel(f"gain on the task, {self.unit}")
            return
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.invert_xaxis()
        axes.set_xlabel(f"loss left on the task, {self.unit} (right is better)")


def draw_predictors(tasks: Mapping[str, Task], path: Path) -> None:
    """Points lost over each measure, every run a point; a measure that no run has has no panel."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in DRAWN}
    for task in tasks.values():
        once = Draws(task, 1, 0)
        for name in DRAWN:
            pairs = [
                (value, points_lost(task, run, once)) for run in task.runs.values() if (value := PREDICTORS[name](run))
            ]
            found[name] |= {task.name: pairs} if pairs else {}
    drawn = [name for name in DRAWN if found[name]]
    if not drawn:
        return
    looks = looks_of(list(tasks))
    with house_style():
        figure = new_figure(4.4 * len(drawn), 4.2)
        panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, drawn, strict=True):
            for task_name, pairs in found[name].items():
                along, up = zip(*pairs, strict=True)
                axes.scatter(along, up, s=22, alpha=0.8, **looks[task_name])
            axes.axhline(0, color=FAINT, linewidth=0.8)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(DRAWN[name])
        panels[0].set_ylabel("points lost, mean over suites")
        handles = [Line2D([], [], linestyle="", label=name, **looks[name]) for name in tasks]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
        save_png(figure, path)


LINEAR, TICKS = 0.003, (0, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)
"""Of the picture's axis of KL: up to where it is linear, and what is written on it."""


def draw_front(plan: Plan, tasks: Mapping[str, Task], path: Path) -> None:
    """The picture of the README: gain on one task over KL on other text, each rate the mean of its seeds."""
    shown = curves(plan, tasks[TASK]) if TASK in tasks else {}
    if not shown:
        return
    task, once, looks = tasks[TASK], Draws(tasks[TASK], 1, 0), looks_of(list(shown))
    with house_style():
        figure = new_figure(8.4, 4.6)
        axes = figure.subplots()
        for method, rates in shown.items():
            along = [fmean(float(text_kl(task, run, once)[0]) for run in runs) for runs in rates]
            up = [fmean(float(gain(task, run, once)[0]) for run in runs) for runs in rates]
            axes.plot(along, up, linewidth=2, markersize=8, clip_on=False, label=plan.title(method), **looks[method])
        axes.plot(0, 0, "*", color=INK, markersize=14, clip_on=False, label="the base model")
        axes.set_xscale("symlog", linthresh=LINEAR, linscale=0.5)
        axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"forgetting: KL from the base on other text, nats per token (logarithmic from {LINEAR:g})")
        axes.set_ylabel("learned: gain on the task, nats per token")
        axes.grid(visible=True)
        axes.legend(loc="lower right", fontsize=10)
        save_png(figure, path)


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """A colour and a marker for each name; no two have both alike."""
    return {
        name: {
            "color": PALETTE[index % len(PALETTE)],
            "marker": MARKERS[(index + index // len(PALETTE)) % len(MARKERS)],
        }
        for index, name in enumerate(names)
    }


def wave_order(plan: Plan) -> Callable[[str], int]:
    """A key that sorts methods as the plan's waves have them, so that the first ones look alike in most figures."""
    return list(dict.fromkeys(method for wave in plan.waves for method in wave["methods"])).index


def draw_method(axes: Axes, points: Runs, look: Look, edge: float) -> None:
    """All runs of a method; those at the edge, which are left of it, hollow."""
    first = [(x, y) for run, x, y in points if run.cell.seed == 0]
    if first:
        axes.plot(*zip(*first, strict=True), color=look["color"], linewidth=0.8, alpha=0.5)
    for hollow in (False, True):
        own = [(x, y) for _, x, y in points if (x == edge) == hollow]
        if own:
            face = "none" if hollow else look["color"]
            along, up = zip(*own, strict=True)
            axes.scatter(along, up, s=26, marker=look["marker"], edgecolors=look["color"], facecolors=face)


def draw_base(axes: Axes, along: float, level: float) -> None:
    """The base: no gain, nothing lost."""
    axes.axhline(level, color=FAINT, linewidth=0.8)
    axes.plot(along, level, "*", color=INK, markersize=12, zorder=3)


def draw_legend(figure: Figure, plan: Plan, looks: Mapping[str, Look], *, hollow: bool) -> None:
    """Names below all panels, with the base, and what a hollow mark says where there is one."""
    handles = [Line2D([], [], linestyle="", color=INK, marker="*", markersize=11, label="base")]
    handles += [Line2D([], [], linestyle="", label=plan.title(name), **look) for name, look in looks.items()]
    if hollow:
        look: Look = {"color": INK, "marker": "o", "markerfacecolor": "none"}
        handles.append(Line2D([], [], linestyle="", label="hollow: worse at the task than the axis shows", **look))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
