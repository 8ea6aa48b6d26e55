"""The training curve: the loss and the learning rate over the steps."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from retain.report import numbers
from retain.report.plot_style import COLOURS, FAINT, INK, Panel
from retain.results import Result

POINTS_WITH_MARKERS = 60


def curve_panels(result: Result) -> list[Panel]:
    """The loss over the steps, the learning rate faint behind it; none where no curve was recorded."""
    if not result.curve:
        return []

    def draw(axes: Axes) -> None:
        steps = [point.step for point in result.curve]
        rate = axes.twinx()
        rate.fill_between(steps, [point.learning_rate for point in result.curve], color=FAINT, alpha=0.18, linewidth=0)
        most = max(point.learning_rate for point in result.curve)
        rate.set_ylim(0, 1.05 * most or 1.0)
        rate.set_yticks([0, most] if most else [0], ["0", numbers.learning_rate(most)] if most else ["0"], fontsize=8)
        rate.set_ylabel("learning rate (grey)", fontsize=9, color=INK)
        rate.spines["right"].set_visible(False)
        rate.tick_params(length=0)
        marker = "o" if len(steps) <= POINTS_WITH_MARKERS else None
        losses = [point.loss for point in result.curve]
        axes.plot(steps, losses, color=COLOURS[0], linewidth=1.6, marker=marker, markersize=3.5)
        axes.set_zorder(rate.get_zorder() + 1)
        axes.patch.set_visible(False)
        axes.set_title("Training loss")
        axes.set_xlabel("step", fontsize=9)
        axes.set_ylabel("loss, nats per token", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.tick_params(labelsize=8)
        axes.grid(visible=True)

    return [Panel("Mean training loss since the point before; grey: the learning rate.", 4.8, 3.0, draw)]
