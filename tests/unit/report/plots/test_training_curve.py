"""The training curve of few steps: whole steps on the axis, and a learning rate that can be read."""

from __future__ import annotations

import pytest

from report_samples import sample_run
from retain.records.result import CurvePoint
from retain.report.plots.style import panel_figure
from retain.report.plots.training_curve import curve_panels


def drawn(*steps, kl=None):
    curve = tuple(
        CurvePoint(step=step, loss=1.4, learning_rate=5e-4 * (1 - step / 9), kl_nats_per_token=kl) for step in steps
    )
    figures = [panel_figure(panel) for panel in curve_panels(sample_run(curve=curve))]
    for figure in figures:
        figure.draw_without_rendering()
    return figures


@pytest.mark.parametrize("steps", [(5,), (1,), (3, 4), (1, 2, 3), tuple(range(10, 200, 10))])
def test_steps_are_whole(steps):
    for figure in drawn(*steps, kl=0.1):
        low, high = figure.axes[0].get_xlim()
        ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == int(tick) for tick in ticks)


def test_the_learning_rate_has_three_digits():
    (figure,) = drawn(6)
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["0", "1.67e-4"]
