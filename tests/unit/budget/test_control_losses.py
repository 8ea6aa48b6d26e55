"""The loss of each unit of control data: its mean is the loss that the report states, positive where it is worse."""

from __future__ import annotations

import numpy as np
import pytest

from evidence_samples import ACCURACY, NATS, UNSCALED, column, evidence
from retain.budget.control_losses import kl_losses, suite_losses, unit_losses
from retain.errors import InputError
from retain.evaluate.held_out import WindowSums
from retain.records.metric import Metric
from retain.records.metrics_table import CHRF, CROSS_ENTROPY, KL_DIVERGENCE

BASE, TUNED = np.arange(30) < 20, np.arange(30) < 14
ERROR = Metric(name="error", unit="share", low=0, high=1, higher_is_better=False)


@pytest.mark.parametrize(
    ("metric", "base", "tuned", "fields"),
    [
        (ACCURACY, BASE, TUNED, {}),
        (ACCURACY, BASE, TUNED, {"groups": [k // 4 for k in range(30)]}),
        (CHRF, 50 * BASE, 40 * TUNED, {"groups": [k // 4 for k in range(30)]}),
        (ERROR, 0.2 + 0.1 * TUNED, 0.3 + 0.1 * BASE, {}),
        (NATS, 2 + 0.1 * TUNED, 2.2 + 0.1 * BASE, {"weights": 1 + np.arange(30)}),
    ],
)
def test_the_mean_loss_is_that_of_the_evidence(metric, base, tuned, fields):
    made = column("s", metric, base, tuned, **fields)
    losses, largest = unit_losses(made)
    found = evidence("s", metric, base, tuned, **fields)
    assert losses.mean() == pytest.approx(found.loss)
    assert found.loss > 0
    assert len(losses) == found.groups
    if metric.span is not None:
        assert np.abs(losses).max() <= largest * metric.span + 1e-9


def test_single_items_take_the_exact_test_and_groups_the_other():
    groups = [k // 4 for k in range(30)]
    alone, grouped = (suite_losses(column("s", ACCURACY, BASE, TUNED, groups=g), limit=2.0) for g in (None, groups))
    assert (alone.right_or_wrong, grouped.right_or_wrong) == (True, False)
    assert (alone.limit, alone.unit, alone.metric) == (0.02, "points", ACCURACY)
    assert (alone.largest, grouped.largest) == (1, pytest.approx(4 * 8 / 30))


def test_points_are_a_share_of_the_range():
    made = suite_losses(column("s", CHRF, [50.0, 60.0], [40.0, 60.0]), limit=2.0)
    assert made.losses.tolist() == [0.1, 0]


def test_nats_are_cut_and_signed():
    made = suite_losses(column("s", CROSS_ENTROPY, [2.0, 3.0], [1.0, 4.0], weights=[1, 1]), limit=0.1)
    assert (made.unit, made.losses.tolist(), made.clipped, made.uncut) == ("nats", [-0.5, 0.5], 2, 0)


def test_without_a_range_nothing_can_be_promised():
    with pytest.raises(InputError, match="range of ter"):
        suite_losses(column("s", UNSCALED, [1.0, 2.0], [1.0, 2.0]), limit=2.0)


def test_blocks_of_text_are_the_units_of_the_kl():
    sums = WindowSums([0, 0, 0], [0, 0, 0], [0.3, 0.1, 0.2], [0, 0, 0], [4, 2, 6])
    made = kl_losses(sums, ["a", "a", "b"], limit=0.1)
    assert made.metric == KL_DIVERGENCE
    assert made.losses.tolist() == pytest.approx([0.4 * 2 / 12, 0.2 * 2 / 12])
    assert made.losses.mean() == pytest.approx(0.6 / 12)
    with pytest.raises(InputError, match="no window"):
        kl_losses(WindowSums(), [], limit=0.1)
