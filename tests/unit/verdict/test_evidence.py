"""The one evaluation of a column: change, test, interval, units."""

from __future__ import annotations

import numpy as np
import pytest

from evidence_samples import ACCURACY, NATS, UNSCALED, column, evidence, seeded
from retain.records.metric import Metric
from retain.records.metrics_table import CHRF
from retain.stats.bootstrap import change_interval, ratio_intervals
from retain.stats.clusters import graded_p
from retain.stats.mcnemar import mcnemar_p
from retain.verdict.verdict import SuiteEvidence, judge


def answers(both, lost, gained, neither):
    base = np.repeat([1, 1, 0, 0], [both, lost, gained, neither])
    return base, np.repeat([1, 0, 1, 0], [both, lost, gained, neither])


def test_evidence_of_right_and_wrong():
    base, tuned = answers(60, 12, 3, 25)
    found = evidence("s", ACCURACY, base, tuned, 0.25)
    assert (found.n, found.groups, found.units, found.lost, found.gained) == (100, 100, 100, 12, 3)
    assert (found.base, found.tuned, found.change, found.loss) == pytest.approx((0.72, 0.63, -0.09, 0.09))
    assert found.lead == pytest.approx(0.47)
    assert found.p_value == mcnemar_p(12, 3)
    assert found.interval == change_interval(base, tuned, seeded())
    assert found.loss_interval == (-found.interval[1], -found.interval[0])


def test_a_loss_is_positive_where_less_is_better_too():
    nll, tokens = seeded(1).normal(3, 0.3, 30), seeded(2).integers(50, 257, 30)
    moved = nll + seeded(3).normal(0.1, 0.05, 30)
    found = evidence("s", NATS, nll, moved, weights=tokens)
    d = tokens * (moved - nll)
    assert found.change == pytest.approx(d.sum() / tokens.sum())
    assert found.loss == found.change > 0
    assert found.loss_interval == found.interval
    assert (found.chance, found.lead, found.scaled) == (None, None, True)
    assert found.p_value == pytest.approx(graded_p(d, seeded()), abs=1e-4)
    assert found.interval == pytest.approx(ratio_intervals([d], tokens, seeded(1))[0], abs=0.005)


def test_no_change_is_no_negative_zero():
    same = evidence("s", ACCURACY, np.ones(30), np.ones(30))
    assert str(same.loss) == "0.0"


def test_one_unit_has_no_interval():
    one = evidence("s", NATS, np.array([3.0]), np.array([3.5]))
    assert one.interval is None
    (found,) = judge([SuiteEvidence("s", one)])
    assert found.verdict == "too few items to say"
    assert "too few to show any loss" in found.reason


def test_equal_seeds_give_equal_evidence_and_others_another_interval():
    base, tuned = answers(600, 250, 100, 50)
    first, again, other = (evidence("s", ACCURACY, base, tuned, generator=seeded(k)) for k in (0, 0, 1))
    assert first == again
    assert other.interval != first.interval
    assert other.p_value == first.p_value


def test_groups_are_counted_and_weighed():
    base, tuned = answers(20, 5, 0, 5)
    found = evidence("s", ACCURACY, base, tuned, groups=["one"] * 20 + [f"g{k}" for k in range(10)])
    assert (found.n, found.groups, found.units) == (30, 11, 2)  # 30²/(20² + 10 · 1²) = 2.2


@pytest.mark.parametrize(
    ("metric", "values", "able", "scaled"),
    [
        (CHRF, [0.0, 3.0, 90.0], 2, True),
        (NATS, [0.0, 3.0, 90.0], 3, True),
        (UNSCALED, [0.0, 3.0, 90.0], 0, False),
        (Metric(name="error", unit="share", low=0, high=1, higher_is_better=False), [0.0, 0.5, 1.0], 2, True),
    ],
)
def test_units_that_a_model_that_knows_nothing_would_make_worse(metric, values, able, scaled):
    found = evidence("s", metric, values, values)
    assert (found.can_fall, found.scaled) == (able, scaled)


def test_where_less_is_better_the_largest_value_is_that_of_a_model_that_knows_nothing():
    error = Metric(name="error", unit="share", low=0, high=1, higher_is_better=False)
    found = evidence("s", error, np.full(30, 0.25), np.full(30, 0.5))
    assert (found.chance, found.lead, found.loss, found.change) == (1.0, 0.75, 0.25, 0.25)


def test_a_part_of_a_column_keeps_its_items_together():
    made = column("s", NATS, [1, 2, 3, 4], [1, 2, 3, 5], weights=[1, 2, 3, 4], groups=["a", "b", "a", "c"])
    part = made.where(np.array([True, False, True, True]))
    assert (part.base.tolist(), part.weights.tolist(), part.groups) == ([1, 3, 4], [1, 3, 4], ["a", "a", "c"])
