"""From sums over windows to the drift that tokens tell."""

from __future__ import annotations

import pytest

from evidence_samples import evidence, seeded
from retain.errors import RetainError
from retain.evaluate.drift.summary import drift_summary
from retain.evaluate.held_out import WindowSums
from retain.records.metrics_table import CROSS_ENTROPY


def test_drift_by_hand():
    # Windows of 2 and 6 tokens.
    language = evidence("text", CROSS_ENTROPY, [3.0, 3.0], [4.0, 20 / 6], weights=[2, 6])
    drift = drift_summary(WindowSums([6.0, 18.0], [8.0, 20.0], [1.0, 1.0], [1, 1], [2, 6]), seeded(), language)
    assert drift.tokens == 8
    assert drift.ce_base_nats_per_token == 3
    assert drift.ce_drift_nats_per_token == pytest.approx(0.5)
    assert drift.kl_nats_per_token == drift.churn == 0.25
    # Two windows resample to one of them twice, (2/6, 1/6) · 2 and the like, or to both: the ends are 2/2 and 2/6.
    low, high = drift.ce_drift_interval  # of so few windows Student's interval, which is wider
    assert low < 1 / 3
    assert high > 1
    assert drift.kl_interval == drift.churn_interval == pytest.approx((1 / 6, 1 / 2))
    assert drift.note == ""


def test_one_window_has_figures_and_no_intervals():
    language = evidence("text", CROSS_ENTROPY, [3.0], [4.0], weights=[2])
    drift = drift_summary(WindowSums([6.0], [8.0], [1.0], [1], [2]), seeded(), language)
    assert drift.ce_drift_nats_per_token == 1
    assert drift.kl_nats_per_token == 0.5
    assert drift.kl_interval is drift.ce_drift_interval is drift.churn_interval is None
    assert "One window" in drift.note


def test_a_broken_drift_is_refused():
    two = [1.0, 2.0]
    with pytest.raises(RetainError, match="not finite"):
        drift_summary(WindowSums(two, two, [1.0, float("inf")], two, [1, 2]), seeded())
    with pytest.raises(ValueError, match="at least one token"):
        drift_summary(WindowSums(two, two, two, two, [1, 0]), seeded())
    with pytest.raises(ValueError, match="at least one token"):
        drift_summary(WindowSums(), seeded())


def test_without_evidence_of_the_language_its_change_is_not_told():
    drift = drift_summary(WindowSums([6.0, 8.0], [6.0, 9.0], [1.0, 1.0], [1, 1], [2, 6]), seeded())
    assert drift.ce_drift_nats_per_token is drift.ce_drift_interval is None
    assert drift.kl_interval is not None
