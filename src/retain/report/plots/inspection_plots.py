"""The plots of `retain inspect`: spectra, and measures over depth with one line a kind of layer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from retain.compare.inspection_rows import InputRow, StartRow, StartView, StatisticsView, View
from retain.compare.item_examples import readable
from retain.records import numbers
from retain.report.plots.style import COLOURS, INK, MARKERS, house_style, new_figure

DASHES = {"learn": "-", "keep": (0, (4, 2))}
"""How the lines of each set of texts are drawn, in every panel."""

DEPTHS = ("#b9b3d6", "#7d6fb3", "#33176b")
"""First, middle and last layer of a spectrum, in a colour that no kind of layer has at first."""

LONGEST = 40
OVERLAP = "overlap (0: none shared, 1: all shared)"
DOTS = (0, (1, 2))

Row = InputRow | StartRow
Value = Callable[[Row], float | None]


def inspection_figure(view: View) -> Figure:
    """Four fields: of statistics three panels and the key; of an adapter four panels, the key beneath."""
    with house_style():
        figure = new_figure(11.0, 8.6)
        if isinstance(view, StatisticsView):
            _draw_statistics(figure, view)
        else:
            _draw_start(figure, view)
    return figure


def _draw_statistics(figure: Figure, view: StatisticsView) -> None:
    grid = figure.subplots(2, 2).ravel()
    _draw_spectra(grid[0], view)
    rows, looks = view.rows, _looks(view.rows)
    ranks = {name: _of_set(name, "effective_rank") for name in view.sets}
    _draw_over_depth(grid[1], rows, looks, ranks)
    _label(grid[1], "How many directions are in use", "effective rank (directions)", _plain)
    if any(row.overlap is not None for row in rows):
        _draw_over_depth(grid[2], rows, looks, {"": lambda row: row.overlap})
        _draw_levels(grid[2], [row.random for row in rows])
        _label(grid[2], f"Do both texts use the same {view.rank} directions?", OVERLAP)
    else:
        _draw_over_depth(grid[2], rows, looks, {name: _of_set(name, "top_share") for name in view.sets})
        _label(grid[2], "What lies in the strongest direction", "share of the mean square (0 to 1)")
    grid[3].set_axis_off()
    handles = [*_set_handles(list(view.sets)), *_kind_handles(looks)]
    if any(row.overlap is not None for row in rows):
        handles.append(_level_handle(view.rank, [row.n for row in rows if row.overlap is not None]))
    title = "Dashes: the text. Colours: the layers that read an input."
    grid[3].legend(handles=handles, loc="center left", title=title, alignment="left", fontsize=10)


def _draw_start(figure: Figure, view: StartView) -> None:
    grid = figure.subplots(2, 2).ravel()
    rows, looks = view.rows, _looks(view.rows)
    random = [None if row.outputs is None else view.rank / row.outputs for row in rows]
    for axes, name, value in (
        (grid[0], "learn", lambda row: row.share_learn),
        (grid[1], "keep", lambda row: row.share_keep),
    ):
        _draw_over_depth(axes, rows, looks, {"": value})
        _draw_levels(axes, random)
        title = f"Text to {name}: share in the chosen {view.rank} directions"
        _label(axes, title, "share of the mean squared output", _percent)
    both = [axes.get_ylim() for axes in grid[:2]]
    for axes in grid[:2]:
        axes.set_ylim(min(low for low, _ in both), max(high for _, high in both))
    traces = {"learn": lambda row: row.trace_learn, "keep": lambda row: row.trace_keep}
    _draw_over_depth(grid[2], rows, looks, traces)
    _label(grid[2], "How large the outputs are", "mean squared length of the output", _plain)
    _draw_over_depth(grid[3], rows, looks, {"": lambda row: row.overlap})
    _draw_levels(grid[3], random)
    _label(grid[3], f"Do both texts use the same {view.rank} directions?", OVERLAP)
    handles = [*_kind_handles(looks), *_set_handles(["learn", "keep"])]
    if sizes := [row.outputs for row in rows if row.outputs is not None]:
        handles.append(_level_handle(view.rank, sizes))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), fontsize=10)


def _of_set(name: str, field: str) -> Value:
    return lambda row: getattr(row.sets[name], field) if isinstance(row, InputRow) and name in row.sets else None


def _looks(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each kind."""
    kinds = dict.fromkeys(row.kind for row in rows)
    return {
        kind: (COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)])
        for place, kind in enumerate(kinds)
    }


def _kind_handles(looks: dict[str, tuple[str, str]]) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, markersize=6, label=readable(kind, LONGEST))
        for kind, (colour, marker) in looks.items()
    ]


def _set_handles(names: Sequence[str], words: str = "text to ") -> list[Line2D]:
    named = [(name, f"{words}{name}" if name in DASHES else str(readable(name, LONGEST))) for name in names]
    return [Line2D([], [], color=INK, linestyle=DASHES.get(name, "-"), label=label) for name, label in named]


def _level_handle(rank: int, sizes: Sequence[int]) -> Line2D:
    known = [numbers.count(size) for size in sorted(set(sizes))]
    named = f" of {' or '.join([', '.join(known[:-1]), known[-1]] if known[1:] else known)}" if len(known) < 5 else ""
    return Line2D([], [], color=INK, linestyle=DOTS, label=f"{rank} random directions{named}")


def _label(axes: Axes, title: str, unit: str, write: Callable[[float], str] | None = None) -> None:
    """Title and labels; a logarithmic scale where it is said how its ticks are written, else 0 to 1."""
    axes.set_title(title)
    axes.set_ylabel(unit if write is None else f"{unit}, log scale")
    axes.set_xlabel("layer (0: the first)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True)
    if not axes.lines:
        axes.text(0.5, 0.5, "no layer has a number in its name", ha="center", transform=axes.transAxes, color=INK)
    elif write is None:
        axes.set_ylim(0, 1.02)
    elif math.isfinite(axes.dataLim.minposy):  # there is something to take the logarithm of
        axes.set_yscale("log")
        _ticks(axes.yaxis, write)


def _ticks(axis: Axis, write: Callable[[float], str]) -> None:
    """Ticks of a logarithmic axis as plain text: each decade, and 2 and 5 where there are few decades."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 300 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    """A tick: plain up to ten thousand, `10⁵` from there."""
    exponent = round(math.log10(value))
    if abs(exponent) < 5:
        return f"{value:,.6g}"
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    lead = value / 10.0**exponent
    return f"10{raised}" if round(lead, 6) == 1 else f"{lead:.3g}·10{raised}"


def _percent(value: float) -> str:
    return f"{_plain(100 * value)}%"


def _draw_over_depth(
    axes: Axes, rows: Sequence[Row], looks: dict[str, tuple[str, str]], values: dict[str, Value]
) -> None:
    """The median at each depth for each kind; where there are several layers at one depth, each as a faint point."""
    for kind, (colour, marker) in looks.items():
        for name, value in values.items():
            found: dict[int, list[float]] = defaultdict(list)
            for row in rows:
                if row.kind == kind and row.depth is not None and (at := value(row)) is not None:
                    found[row.depth].append(at)
            crowd = [(depth, one) for depth, several in found.items() if len(several) > 1 for one in several]
            if crowd:
                axes.plot(*zip(*crowd, strict=True), ".", color=colour, alpha=0.3, markersize=3)
            if found:
                line = [(depth, median(several)) for depth, several in sorted(found.items())]
                axes.plot(
                    *zip(*line, strict=True),
                    color=colour,
                    marker=marker,
                    markersize=4,
                    markerfacecolor="white" if name == "keep" else colour,
                    linestyle=DASHES.get(name, "-"),
                    linewidth=1.3,
                )


def _draw_levels(axes: Axes, levels: Sequence[float | None]) -> None:
    for level in sorted({level for level in levels if level is not None}):
        axes.axhline(level, color=INK, linestyle=DOTS, linewidth=1.1)


def spectrum_kind(view: StatisticsView) -> str:
    """The kind of input whose spectra are drawn: the first of those that are found at most depths."""
    depths: dict[str, set[int | None]] = defaultdict(set)
    for row in view.rows:
        depths[row.kind].add(row.depth)
    return max(depths, key=lambda kind: len(depths[kind]))


def _draw_spectra(axes: Axes, view: StatisticsView) -> None:
    """The eigenvalues of the first, middle and last input of one kind."""
    kind = spectrum_kind(view)
    of_kind = sorted((row for row in view.rows if row.kind == kind), key=lambda row: row.depth or 0)
    chosen = sorted({0, (len(of_kind) - 1) // 2, len(of_kind) - 1})
    colours = DEPTHS if len(chosen) == len(DEPTHS) else DEPTHS[-len(chosen) :]
    handles = []
    for colour, place in zip(colours, chosen, strict=True):
        row = of_kind[place]
        label = f"layer {row.depth}" if row.depth is not None else readable(row.layers[0], LONGEST)
        handles.append(Line2D([], [], color=colour, linewidth=2, label=label))
        for name, facts in row.sets.items():
            places = range(1, len(facts.spectrum) + 1)
            axes.plot(places, facts.spectrum, color=colour, linestyle=DASHES.get(name, "-"), linewidth=1.6)
    if any(facts.spectrum for row in of_kind for facts in row.sets.values()):
        axes.set_xscale("log")
        axes.set_yscale("log")
        _ticks(axes.xaxis, _plain)
        _ticks(axes.yaxis, _percent)
    axes.grid(visible=True)
    axes.set_title(f"Share of each direction: {readable(kind, 24)}")
    axes.set_xlabel("direction (1: the strongest), log scale")
    axes.set_ylabel("share of the mean square, log scale")
    axes.legend(handles=handles, loc="upper right", fontsize=9)
