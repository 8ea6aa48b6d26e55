"""Reliability diagrams: how often each model is right when it is so sure, the base beside the tuned one."""

from __future__ import annotations

import math

from matplotlib.axes import Axes

from retain.compare.item_examples import readable
from retain.records import numbers
from retain.records.result import Result
from retain.records.scores import CalibrationScore
from retain.report.plots.style import BETTER, FAINT, INK, WORSE, Panel

MOST_SUITES = 8
_LOOK = {"base": (BETTER, "o", "-"), "tuned": (WORSE, "s", "--")}


def reliability_panels(result: Result) -> list[Panel]:
    """One diagram a suite, at most eight; the table has them all."""
    suites = list(dict.fromkeys(found.suite for found in result.calibration if found.bins))
    return [
        _panel(suite, [found for found in result.calibration if found.suite == suite and found.bins])
        for suite in suites[:MOST_SUITES]
    ]


def _panel(suite: str, sides: list[CalibrationScore]) -> Panel:
    def draw(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color=FAINT, linewidth=1, linestyle=":")
        for found in sides:
            colour, marker, dashes = _LOOK[found.side]
            bins = [part for part in found.bins if part.n > 0]
            sure = [100 * part.confidence for part in bins]
            right = [100 * part.accuracy for part in bins]
            most = max((part.n for part in bins), default=1)
            sizes = [10 + 30 * math.sqrt(part.n / most) for part in bins]
            axes.plot(sure, right, color=colour, linewidth=1.2, linestyle=dashes, alpha=0.7)
            label = f"{found.side}: ECE {numbers.percent(found.ece)}"
            axes.scatter(sure, right, s=sizes, color=colour, marker=marker, label=label, zorder=3)
        axes.set_xlim(0, 102)
        axes.set_ylim(0, 102)
        axes.set_aspect("equal")
        axes.set_title(readable(suite, 34) or "")
        axes.set_xlabel("how sure it is, %", fontsize=9)
        axes.set_ylabel("how often it is right, %", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(visible=True)
        axes.legend(fontsize=8, labelcolor=INK, loc="upper center", bbox_to_anchor=(0.5, -0.17))

    caption = f"{suite}: on the dotted line, the model is right as often as it is sure. Below it, it is too sure."
    return Panel(caption, 3.8, 4.7, draw)
