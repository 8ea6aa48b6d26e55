"""The style of all plots: colours told apart by colour-blind readers, fonts, and files that are whole or absent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retain.records.files import write_bytes

INK = "#1b1c20"
FAINT = "#8a8d96"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#6a51a3")
"""Okabe and Ito's palette without its black and its yellow (too pale on white), and two more."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
BETTER, WORSE = COLOURS[0], COLOURS[1]

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "retain",
}


@contextmanager
def house_style() -> Iterator[None]:
    """The plots' settings; names are shown as they stand, `$` included."""
    with mpl.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure that draws without a screen and belongs to no global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path, dots_per_inch: int = 150) -> None:
    """Write the figure as PNG so that it is there whole or not at all."""
    buffer = BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white")
    write_bytes(path, buffer.getvalue())


@dataclass(frozen=True)
class Panel:
    """One drawing: what it shows in words, its size in inches, and how it is drawn into axes.

    The page shows each by itself, so that panels stand under one another on a phone; a PNG holds all of a kind.
    """

    caption: str
    width: float
    height: float
    draw: Callable[[Axes], None]


def panel_figure(panel: Panel) -> Figure:
    """One panel alone."""
    with house_style():
        figure = new_figure(panel.width, panel.height)
        panel.draw(figure.subplots())
    return figure


def sheet_figure(panels: Sequence[Panel], columns: int) -> Figure:
    """Several panels on one sheet, row by row, each as large as the largest."""
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    with house_style():
        height = max(panel.height for panel in panels)
        figure = new_figure(max(panel.width for panel in panels) * columns, height * rows)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            panel.draw(axes)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
    return figure
