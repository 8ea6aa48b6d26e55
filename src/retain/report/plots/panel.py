"""One panel of a comparison's plot: what each setting gained on the task against one measure of what it kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from retain.compare.aggregate import Estimate, Group, point_names, setting_point
from retain.compare.item_examples import readable
from retain.compare.pareto import pareto_front
from retain.compare.pick import Key, Pick, keep_score, pick_task, sign_of
from retain.records import numbers
from retain.report.plots.place_labels import Label
from retain.report.plots.style import FAINT, INK

SEEDS_FOR_BARS = 3
FRONT_DASHES = (0, (4, 3))
MOST_LABELS = 12
"""With more settings than this, points go without their learning rate: it stands in the title of each."""

Numbers = NDArray[np.float64]
Place = tuple[float, float]


@dataclass(frozen=True)
class Measure:
    """The measure along y of a panel. `sign` turns improvement upwards; KL (no suite) is drawn downwards instead."""

    title: str
    label: str
    pick: Pick
    sign: float
    unit: numbers.Unit
    suite: Key | None


@dataclass(frozen=True)
class Look:
    """The look that all panels share: the task along x, colour and marker of each method, the kind of bars."""

    task: Key
    styles: dict[str, tuple[str, str]]
    over_seeds: bool
    base_x: float
    x_scale: float
    gids: dict[str, str]
    """The name in a drawing of each run's point (by the run's name) and each setting's (by its title)."""


@dataclass(frozen=True)
class _Point:
    group: Group
    x: Estimate
    y: Estimate
    at: Place


def shared_look(groups: Sequence[Group], task: Key, styles: dict[str, tuple[str, str]]) -> Look:
    """Decide what all panels share; the base stands at 0, or at the left edge where 0 is too far from all settings."""
    scale = task[1].unit.factor * sign_of([result for group in groups for result in group.results], task)
    gains = [scale * found.mean for group in groups if (found := group.estimate(pick_task(task))) is not None]
    low, high = min(gains, default=0.0), max(gains, default=0.0)
    spread = max(high - low, 0.1 * high)
    base_x = 0.0 if low < 1.5 * spread else low - 0.45 * spread
    over_seeds = any(group.seeds >= SEEDS_FOR_BARS for group in groups)
    return Look(task, styles, over_seeds, base_x, scale, point_names(groups))


def draw_panel(axes: Axes, measure: Measure, groups: Sequence[Group], look: Look) -> tuple[list[Label], list[Place]]:
    """Draw all but the labels; returns the labels to place and the places that they should leave free."""
    unit = look.task[1].unit
    name = f"improvement of {readable(look.task[0], 30)}: {look.task[1].title}, {unit.name}"
    axes.set_xlabel(name.rstrip(", "))
    axes.set_title(measure.title, pad=12)
    axes.set_ylabel(measure.label)
    axes.grid(visible=True)
    y_scale = measure.unit.factor * (measure.sign if measure.suite else 1.0)
    points = _points(measure, groups, look, y_scale)
    base = Label("base" if look.base_x == 0 else "base, at 0", look.base_x, 0.0, INK)
    labels, occupied = [base], [(look.base_x, 0.0)]
    _front(axes, points, look.base_x, upwards=measure.suite is not None)
    for method, (colour, _) in look.styles.items():
        of_method = [point for point in points if point.group.method == method]
        occupied += _line(axes, of_method, colour)
        for point in of_method:
            occupied += _point(axes, point, look, measure, y_scale)
            if point.group.learning_rate is not None and rates_stand_beside(groups):
                labels.append(Label(numbers.learning_rate(point.group.learning_rate), *point.at, colour))
    axes.plot([look.base_x], [0], marker=base_marker(look), markersize=9, color=INK, zorder=5, clip_on=False)
    if measure.suite is None:
        _downward_scale(axes, points)
    else:
        _retention_scale(axes, measure.suite, points, y_scale)
    return labels, occupied


def rates_stand_beside(groups: Sequence[Group]) -> bool:
    """True where there are few enough settings for their learning rates to be written beside the points."""
    return len(groups) <= MOST_LABELS


def base_marker(look: Look) -> str:
    """The base's marker: a hexagon where it stands, an arrow to the left where it is further away."""
    return "h" if look.base_x == 0 else "<"


def _points(measure: Measure, groups: Sequence[Group], look: Look, y_scale: float) -> list[_Point]:
    found = []
    for group in groups:
        x, y = group.estimate(pick_task(look.task)), group.estimate(measure.pick)
        if x is not None and y is not None:
            found.append(_Point(group, x, y, (x.mean * look.x_scale, y.mean * y_scale)))
    return found


def _front(axes: Axes, points: Sequence[_Point], base_x: float, *, upwards: bool) -> None:
    found = [(base_x, 0.0), *(point.at for point in points)]
    front = sorted(found[index] for index in pareto_front([(x, y if upwards else -y) for x, y in found]))
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="pre", color=FAINT, linestyle=FRONT_DASHES, linewidth=1.4, zorder=1)


def _line(axes: Axes, points: Sequence[_Point], colour: str) -> list[Place]:
    """Join one method's learning rates; returns places along the line."""
    if len(points) < 2 or any(point.group.learning_rate is None for point in points):
        return []
    axes.plot(*zip(*(point.at for point in points), strict=True), color=colour, linewidth=1.2, alpha=0.7, zorder=2)
    return [place for start, end in pairwise(points) for place in _along(start.at, end.at)]


def _along(start: Place, end: Place) -> list[Place]:
    return [(start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])) for t in np.linspace(0.1, 0.9, 9)]


def _point(axes: Axes, point: _Point, look: Look, measure: Measure, y_scale: float) -> list[Place]:
    """Draw one setting: its runs faint, its mean with bars; returns the places that it covers."""
    x, y = point.at
    colour, marker = look.styles[point.group.method]
    occupied = [point.at]
    for run in point.group.runs if len(point.group.runs) > 1 else ():
        a, b = pick_task(look.task)(run.result), measure.pick(run.result)
        if a is not None and b is not None:
            at = ([a[0] * look.x_scale], [b[0] * y_scale])
            faint: dict[str, Any] = {"markersize": 5, "alpha": 0.45, "linestyle": "none", "gid": look.gids[run.name]}
            axes.plot(*at, color=colour, marker=marker, **faint)
            occupied.append((at[0][0], at[1][0]))
    for estimate, scale, upright in ((point.x, look.x_scale, False), (point.y, y_scale, True)):
        ends = _bar(estimate, over_seeds=look.over_seeds)
        if ends is not None:
            low, high = sorted(end * scale for end in ends)
            bar = [(x, low), (x, high)] if upright else [(low, y), (high, y)]
            caps = "_" if upright else "|"
            axes.plot(
                *zip(*bar, strict=True), color=colour, linewidth=1.2, marker=caps, markersize=6, alpha=0.8, zorder=3
            )
            occupied += _along(*bar)
    own = setting_point(point.group, look.gids)
    mean: dict[str, Any] = {"markersize": 8, "markeredgecolor": "white", "linestyle": "none", "zorder": 4, "gid": own}
    axes.plot([x], [y], color=colour, marker=marker, **mean)
    return occupied


def _bar(estimate: Estimate, *, over_seeds: bool) -> tuple[float, float] | None:
    if not over_seeds:
        return estimate.items
    return estimate.seeds if len(estimate.values) >= SEEDS_FOR_BARS else None


def _downward_scale(axes: Axes, points: Sequence[_Point]) -> None:
    """KL grows about as the square of the distance moved, so its root is drawn; 0, the base, is on top."""
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    ends = [end for point in points for end in (*point.y.values, *(point.y.items or ()))]
    most = max([*ends, 1e-6])
    axes.set_ylim(1.15 * most, 0)
    steps = [value * power for power in (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0) for value in (1, 2, 5)]
    ticks = [0.0, *(step for step in steps if 0.02 * most < step <= 1.15 * most)]
    axes.set_yticks(ticks, [f"{tick:g}" if tick >= 1e-3 else numbers.learning_rate(tick) for tick in ticks])


def _retention_scale(axes: Axes, suite: Key, points: Sequence[_Point], y_scale: float) -> None:
    """A second scale with the retention, where all runs have the same base and chance."""
    axes.margins(0.1)
    axes.axhline(0, color=INK, linewidth=0.8)
    scores = [keep_score(result, suite) for point in points for result in point.group.results]
    leads = {
        score.base - score.chance
        for score in scores
        if score is not None and score.base is not None and score.retention is not None
    }
    if len(leads) == 1:
        span = leads.pop() * y_scale / 100
        both = (partial(_retention, span=span), partial(_change, span=span))
        axes.secondary_yaxis("right", functions=both).set_ylabel("retention above chance, %")


def _retention(change: Numbers, span: float) -> Numbers:
    return 100 + change / span


def _change(retention: Numbers, span: float) -> Numbers:
    return (retention - 100) * span
