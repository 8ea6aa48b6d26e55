"""Plots of the scaled update: what is learned and lost from the base to all of it."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from retain.compare.item_examples import readable
from retain.records import numbers
from retain.records.budget_record import BudgetRecord, Scaling, ScalingPoint
from retain.report.plots.style import BETTER, COLOURS, FAINT, INK, WORSE, Panel

WIDTH, HEIGHT = 3.6, 2.6
DELIVERED = COLOURS[2]


def scaling_panels(scaling: Scaling | None, budget: Sequence[BudgetRecord] = ()) -> list[Panel]:
    """One drawing for each thing measured, the task first: gain upwards; of the others loss, with the limit."""
    if scaling is None or not scaling.curve:
        return []
    limits = {one.name: one for one in budget}
    order = {"task": 0, "keep": 1, "held-out": 2}
    keys = dict.fromkeys((point.part, point.name) for point in sorted(scaling.curve, key=lambda one: order[one.part]))
    return [
        _panel([point for point in scaling.curve if (point.part, point.name) == key], scaling, limits.get(key[1]))
        for key in keys
    ]


def _panel(points: Sequence[ScalingPoint], scaling: Scaling, limit: BudgetRecord | None) -> Panel:
    first = points[0]
    unit = first.metric.unit
    is_task = first.part == "task"
    sign = -1.0 if is_task else 1.0
    title, axis = _words(first, unit)

    def draw(axes: Axes) -> None:
        xs = [0.0, *(point.alpha for point in points)]
        ys = [0.0, *(sign * unit.factor * point.loss for point in points)]
        axes.axhline(0, color=FAINT, linewidth=0.8)
        for point in points:
            if point.interval is not None:
                ends = sorted(sign * unit.factor * end for end in point.interval)
                axes.plot([point.alpha] * 2, ends, color=FAINT, linewidth=1.4)
            if point.bound is not None:
                axes.plot(point.alpha, unit.factor * point.bound, marker="_", color=WORSE, markersize=12, mew=2)
        axes.plot(xs, ys, color=BETTER if is_task else INK, marker="o", markersize=4)
        if limit is not None:
            axes.axhline(limit.limit, color=WORSE, linestyle="--", linewidth=1)
            axes.annotate(
                "limit",
                *((1, limit.limit), (0, 2)),
                textcoords="offset points",
                ha="right",
                color=WORSE,
                fontsize=8,
            )
        if limit is not None or scaling.alpha not in {0.0, 1.0}:
            axes.axvline(scaling.alpha, color=DELIVERED, linewidth=1.4, zorder=0)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("interpolation coefficient, α", fontsize=9)
        axes.set_ylabel(axis, fontsize=8)
        axes.set_title(title)
        axes.tick_params(labelsize=8)
        axes.margins(y=0.15)

    return Panel(f"{title}: {axis}.", WIDTH, HEIGHT, draw)


def _words(point: ScalingPoint, unit: numbers.Unit) -> tuple[str, str]:
    """A panel's title, and what goes upwards in it."""
    if point.part == "held-out":
        return "Held-out text", f"KL, {unit.name}"
    what = "gained" if point.part == "task" else "lost"
    return readable(point.name, 34) or "", f"{point.metric.title} {what}, {unit.name}".rstrip(", ")
