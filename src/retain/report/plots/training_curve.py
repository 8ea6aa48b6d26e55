"""The training curve: the loss and the learning rate over the steps, and how far the model moved meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from retain.records import numbers
from retain.records.result import CurvePoint, Result
from retain.report.plots.style import COLOURS, FAINT, INK, Panel

POINTS_WITH_MARKERS = 60
WIDTH, HEIGHT = 4.8, 3.0


def curve_panels(result: Result) -> list[Panel]:
    """The loss over the steps, and the KL where it was watched; none where no curve was recorded."""
    if not result.curve:
        return []
    watched = [*_kl_panels(result), *_feature_panels(result.curve), *_ewc_panels(result.curve)]
    return [_loss_panel(result.curve), *watched]


def _loss_panel(curve: Sequence[CurvePoint]) -> Panel:
    """The loss over the steps, the learning rate faint behind it."""

    def draw(axes: Axes) -> None:
        steps = [point.step for point in curve]
        rate = axes.twinx()
        rate.fill_between(steps, [point.learning_rate for point in curve], color=FAINT, alpha=0.18, linewidth=0)
        most = max(point.learning_rate for point in curve)
        rate.set_ylim(0, 1.05 * most or 1.0)
        peak = numbers.learning_rate(float(f"{most:.3g}"))
        rate.set_yticks([0, most] if most else [0], ["0", peak] if most else ["0"], fontsize=8)
        rate.set_ylabel("learning rate (grey)", fontsize=9, color=INK)
        rate.spines["right"].set_visible(False)
        rate.tick_params(length=0)
        losses = [point.loss for point in curve]
        axes.plot(steps, losses, color=COLOURS[0], linewidth=1.6, marker=_marker(len(steps)), markersize=3.5)
        axes.set_zorder(rate.get_zorder() + 1)
        axes.patch.set_visible(False)
        axes.set_title("Training loss")
        axes.set_ylabel("loss, nats per token", fontsize=9)
        _over_steps(axes)

    return Panel("Mean training loss since the point before; grey: the learning rate.", WIDTH, HEIGHT, draw)


def _kl_panels(result: Result) -> list[Panel]:
    """What a KL monitor or KL penalty saw over training: from the base or a teacher, on text to keep or each batch."""
    watched = [(point.step, point.kl_nats_per_token) for point in result.curve if point.kl_nats_per_token is not None]
    on_batch, teacher = result.training.get("kl_on") == "batch", result.training.get("teacher")
    origin = "the base" if teacher is None else f"the teacher {teacher}"
    told = f"KL from {origin} on {'the data that are learned' if on_batch else 'text to keep'}, while training."
    title = "Moved while training" if teacher is None else "Distance from the teacher"
    return [_moved_panel(watched, title, "KL, nats", told)] if watched else []


def _feature_panels(curve: Sequence[CurvePoint]) -> list[Panel]:
    """The feature penalty over training; none without it."""
    held = [(point.step, point.feature_kl_nats) for point in curve if point.feature_kl_nats is not None]
    told = "The feature penalty without its weight, while training: KL from the base of what the probe reads."
    return [_moved_panel(held, "Features moved while training", "KL, nats per item", told)] if held else []


def _ewc_panels(curve: Sequence[CurvePoint]) -> list[Panel]:
    """EWC's penalty over training; none without it."""
    held = [(point.step, point.ewc_nats_per_token) for point in curve if point.ewc_nats_per_token is not None]
    told = "EWC's penalty without its weight, while training: squared changes of weights by their Fisher information."
    return [_moved_panel(held, "Weights moved while training", "EWC, nats per token", told)] if held else []


def _moved_panel(points: Sequence[tuple[int, float]], title: str, axis: str, told: str) -> Panel:
    """A distance from the base over the steps."""

    def draw(axes: Axes) -> None:
        steps, moved = [step for step, _ in points], [distance for _, distance in points]
        axes.plot(steps, moved, color=COLOURS[1], linewidth=1.6, marker=_marker(len(steps)), markersize=3.5)
        axes.set_title(title)
        axes.set_ylabel(axis, fontsize=9)
        axes.set_ylim(bottom=0)
        _over_steps(axes)

    return Panel(told, WIDTH, HEIGHT, draw)


def _marker(points: int) -> str | None:
    return "o" if points <= POINTS_WITH_MARKERS else None


def _over_steps(axes: Axes) -> None:
    first, last = axes.get_xlim()
    if last - first < 2:  # a point alone; margins of a fraction of a step would be marked as steps
        axes.set_xlim(round((first + last) / 2) - 1, round((first + last) / 2) + 1)
    axes.set_xlabel("step", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(visible=True)
