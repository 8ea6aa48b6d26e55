"""What all plots share: colours told apart by colour-blind readers, fonts, and files written whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retain.results import write_bytes

INK = "#1b1c20"
FAINT = "#8a8d96"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#6a51a3")
"""Okabe and Ito's palette without its black and its yellow (too pale on white), and two more."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
POINTS_PER_INCH = 72
LARGEST_ON_PAGE = 1.25
"""How far a drawing may grow with the page: further, its letters would dwarf the text."""
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


def svg_text(figure: Figure) -> str:
    """The figure as an `<svg>` element to stand in a page: text stays text and takes the page's colour."""
    buffer = BytesIO()
    with house_style():
        empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    svg = buffer.getvalue().decode("utf-8")
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"""\sxmlns(:\w+)?=(["']).*?\2""", "", svg)
    opening, rest = svg.split(">", 1)
    opening = re.sub(r'\s(width|height)="[^"]*"', "", opening)
    widest = figure.get_figwidth() * POINTS_PER_INCH * LARGEST_ON_PAGE
    return f'{opening} style="max-width: {widest:.0f}pt">{rest}'.strip()
