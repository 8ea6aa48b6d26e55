"""Labels that do not lie on one another: each is set where least is in its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

_DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
_DISTANCES = (6.0, 13.0, 22.0, 34.0)


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point given in data coordinates."""

    text: str
    x: float
    y: float
    colour: str


def place_labels(
    figure: Figure, axes: Axes, labels: Sequence[Label], occupied: Sequence[tuple[float, float]], size: float
) -> None:
    """Write the labels into drawn axes, away from the occupied points (data coordinates) and from one another."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    pixels_per_point = figure.dpi / 72
    taken = [_around(_pixels(axes, point), 4 * pixels_per_point) for point in occupied]
    frame = axes.get_window_extent(renderer)
    for label in labels:
        note = axes.annotate(
            *(label.text, (label.x, label.y)),
            xytext=(0, 0),
            textcoords="offset points",
            color=label.colour,
            fontsize=size,
        )
        box = note.get_window_extent(renderer)
        anchor = _pixels(axes, (label.x, label.y))
        chosen, distance = min(
            _candidates(anchor, box.width, box.height, pixels_per_point),
            key=lambda candidate: _cost(candidate[0], candidate[1], taken, frame),
        )
        note.set_position(((chosen.x0 - anchor[0]) / pixels_per_point, (chosen.y0 - anchor[1]) / pixels_per_point))
        taken.append(chosen)
        if distance > _DISTANCES[1]:
            _lead(
                axes,
                label,
                (_nearest(anchor[0], chosen.x0, chosen.x1), _nearest(anchor[1], chosen.y0, chosen.y1)),
            )


def _nearest(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _lead(axes: Axes, label: Label, end: tuple[float, float]) -> None:
    """A thin line from a point to a label that had to go further away."""
    x, y = axes.transData.inverted().transform(end)
    axes.plot([label.x, x], [label.y, y], color=label.colour, linewidth=0.6, alpha=0.6, zorder=2)


def _pixels(axes: Axes, point: tuple[float, float]) -> tuple[float, float]:
    x, y = axes.transData.transform(point)
    return float(x), float(y)


def _around(centre: tuple[float, float], reach: float) -> Bbox:
    return Bbox.from_extents(centre[0] - reach, centre[1] - reach, centre[0] + reach, centre[1] + reach)


def _candidates(
    anchor: tuple[float, float], width: float, height: float, pixels_per_point: float
) -> list[tuple[Bbox, float]]:
    found = []
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            reach = distance * pixels_per_point * (0.8 if right and up else 1.0)
            x = anchor[0] + right * reach - {1: 0.0, 0: width / 2, -1: width}[right]
            y = anchor[1] + up * reach - {1: 0.0, 0: height / 2, -1: height}[up]
            found.append((Bbox.from_bounds(x, y, width, height), distance))
    return found


def _cost(box: Bbox, distance: float, taken: Sequence[Bbox], frame: Bbox) -> float:
    covered = sum(_shared(box, other) for other in taken)
    outside = box.width * box.height - _shared(box, frame)
    return covered + 4 * outside + 1.5 * distance


def _shared(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(0.0, width) * max(0.0, height))
