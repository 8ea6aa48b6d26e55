"""The map of how far each matrix moved (blocks × kinds), and how far hidden states moved after each block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from string import digits

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from retain.records import numbers
from retain.records.drift_record import HiddenDrift, LayerDrift
from retain.records.result import Result
from retain.report.layer_names import places
from retain.report.plots.style import COLOURS, FAINT, INK, MARKERS, Panel

LEVELS = 7
"""Steps of the colour scale: few enough to be told apart."""
_COLOURS = "YlGnBu"
_PALEST = 0.12
"""Where the scale begins: further down, a cell would look like the paper."""
_CELL_HEIGHT = 0.19


@dataclass(frozen=True)
class _Measure:
    title: str
    caption: str
    pick: Callable[[LayerDrift], float | None]
    scale: tuple[str, ...] = ()
    """Measures whose values share one colour scale."""
    counted: bool = False


_F_DELTA = ("f_delta_keep", "f_delta_learn")
_MEASURES = (
    _Measure("Relative size", "Change of each weight matrix relative to its own size.", lambda d: d.relative_frobenius),
    _Measure(
        "F_Δ, inputs to keep", "How much the change does to the inputs to keep.", lambda d: d.f_delta_keep, _F_DELTA
    ),
    _Measure("F_Δ, the task", "How much the change does to the task's inputs.", lambda d: d.f_delta_learn, _F_DELTA),
    _Measure(
        "Intruders", "Strong directions of the matrix that the base did not have.", lambda d: d.intruders, counted=True
    ),
    _Measure("Column leak", "Share of the change outside what the matrix could reach before.", lambda d: d.column_leak),
)


def drift_panels(result: Result) -> list[Panel]:
    """One map a measure that any layer has, then the hidden states; none where no layer was measured."""
    layers = result.drift.layers
    panels = [
        _map_panel(measure, layers) for measure in _MEASURES if any(measure.pick(layer) is not None for layer in layers)
    ]
    return panels + ([_hidden_panel(result.drift.hidden)] if result.drift.hidden else [])


def _map_panel(measure: _Measure, layers: Sequence[LayerDrift]) -> Panel:
    layers = [layer for layer in layers if measure.pick(layer) is not None]
    where = places([layer.name for layer in layers])
    blocks = _in_order(dict.fromkeys(place.block for place in where))
    kinds = list(dict.fromkeys(place.kind for place in where))
    grid = np.full((len(blocks), len(kinds)), np.nan)
    for layer, place in zip(layers, where, strict=True):
        value = measure.pick(layer)
        if value is not None:
            grid[blocks.index(place.block), kinds.index(place.kind)] = value
    shared = [value for layer in layers for field in measure.scale if (value := getattr(layer, field)) is not None]
    most = max(shared or [float(np.nanmax(grid))])

    def draw(axes: Axes) -> None:
        _draw_map(axes, measure.title, grid, blocks, kinds, most, counted=measure.counted)

    width = 1.9 + max(0.36 * len(kinds), 1.6)
    return Panel(measure.caption, width, 1.5 + _CELL_HEIGHT * max(len(blocks), 6), draw)


def _in_order(blocks: Iterable[str]) -> list[str]:
    """Blocks of one stack by rising number, each in a place of one; a layer outside the blocks stays where it stood."""
    found = list(blocks)
    stacks = [block.rstrip(digits) for block in found]
    rising = {
        stack: iter(sorted((one for one in found if one.rstrip(digits) == stack), key=lambda one: (len(one), one)))
        for stack in stacks
    }
    return [next(rising[stack]) for stack in stacks]


def _draw_map(
    axes: Axes,
    title: str,
    grid: NDArray[np.float64],
    blocks: Sequence[str],
    kinds: Sequence[str],
    most: float,
    *,
    counted: bool,
) -> None:
    ticks = np.asarray(MaxNLocator(LEVELS, min_n_ticks=2, integer=counted).tick_values(0, most or 1.0))
    steps = np.append(ticks - 0.5, ticks[-1] + 0.5) if counted and most <= LEVELS else ticks
    colours = ListedColormap(mpl.colormaps[_COLOURS](np.linspace(_PALEST, 1, 256)))
    norm = BoundaryNorm(steps, colours.N)
    drawn = axes.pcolormesh(np.ma.masked_invalid(grid), cmap=colours, norm=norm, edgecolors="white", linewidth=0.4)
    axes.invert_yaxis()
    axes.set_title(title)
    axes.set_xticks(np.arange(len(kinds)) + 0.5, kinds, rotation=90, fontsize=8)
    every = max(1, round(len(blocks) / 16))
    shown = [place for place in range(len(blocks)) if place % every == 0 or not blocks[place].isdigit()]
    axes.set_yticks([place + 0.5 for place in shown], [blocks[place] for place in shown], fontsize=8)
    axes.set_ylabel("block", fontsize=9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure = axes.figure
    bar = figure.colorbar(drawn, ax=axes, fraction=0.08, pad=0.03, ticks=ticks)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.ax.set_yticklabels([numbers.three_digits(float(tick)) for tick in ticks])
    bar.outline.set_visible(False)


def _hidden_panel(hidden: Sequence[HiddenDrift]) -> Panel:
    blocks = [state.block for state in hidden]
    curves = (
        ("1 − CKA: another shape", [1 - state.cka for state in hidden]),
        ("1 − cosine: another direction", [state.cosine_drift for state in hidden]),
        ("relative L2: another place", [state.relative_l2 for state in hidden]),
    )

    def draw(axes: Axes) -> None:
        floor = min((value for _, values in curves for value in values if value > 0), default=0.0)
        for (label, values), colour, marker in zip(curves, COLOURS, MARKERS, strict=False):
            shown = [value if value > 0 else np.nan for value in values] if floor else values
            axes.plot(blocks, shown, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
        if floor:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_title("Hidden states")
        axes.set_xlabel("after block", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.tick_params(labelsize=8, color=FAINT)
        axes.grid(visible=True)
        axes.legend(fontsize=8, labelcolor=INK, loc="best")

    return Panel("How far hidden states moved on the same inputs, block by block.", 4.4, 4.0, draw)
