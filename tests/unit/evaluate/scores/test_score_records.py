"""From item-level arrays to the records: figures, status rules, notes."""

from __future__ import annotations

import numpy as np
import pytest

from retain.errors import InputError, RetainError
from retain.evaluate.drift.summary import drift_summary
from retain.evaluate.scores.keep import MINIMUM_ITEMS, keep_score
from retain.evaluate.scores.task import task_score
from retain.stats.mcnemar import detectable_loss


def seeded(seed=0):
    return np.random.default_rng(seed)


def first(k, n):
    return np.arange(n) < k


def test_a_measured_suite():
    # 40 items, chance ¼. Base right on 30; of these 8 lost; of the other 10, 2 gained.
    base = first(30, 40)
    tuned = base.copy()
    tuned[:8] = False
    tuned[30:32] = True
    score = keep_score("capitals", base, tuned, 0.25, seeded())
    assert score.status == "measured"
    assert (score.n, score.base, score.tuned) == (40, 0.75, 0.6)
    assert (score.lost, score.gained) == (0.2, 0.05)
    assert score.p_value == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert score.retention == pytest.approx(0.35 / 0.5)
    assert score.detectable_loss == 6 / 40
    assert score.interval[0] < -0.15 < score.interval[1]
    assert score.retention_interval[0] < 0.7 < score.retention_interval[1]
    assert score.note == ""


def test_chance_item_by_item_is_averaged():
    base = first(30, 40)
    each = np.repeat([0.25, 0.5], 20)
    assert keep_score("s", base, base, each, seeded()).chance == 0.375
    assert keep_score("s", base, base, each, seeded()) == keep_score("s", base, base, 0.375, seeded())


@pytest.mark.parametrize("n", [1, 5, 6, 23])
def test_too_few_items_get_no_score(n):
    score = keep_score("small", first(n, n), first(0, n), 0.25, seeded())
    assert score.status == "too few items"
    assert {score.base, score.tuned, score.lost, score.gained, score.p_value, score.interval, score.retention} == {None}
    assert score.retention_interval is None
    assert score.detectable_loss == detectable_loss(n)
    assert "at least 24" in score.note


def test_24_items_are_the_fewest():
    assert keep_score("s", first(24, 24), first(24, 24), 0.25, seeded()).status == "measured"
    assert detectable_loss(MINIMUM_ITEMS) <= 0.25 < detectable_loss(MINIMUM_ITEMS - 1)


def test_a_base_at_chance_cannot_show_loss():
    score = keep_score("hard", first(12, 40), first(2, 40), 0.25, seeded())
    assert score.status == "base at chance"
    assert (score.base, score.tuned, score.lost, score.gained) == (0.3, 0.05, 0.25, 0.0)
    assert score.interval is not None
    assert score.retention is score.retention_interval is None
    assert "12 of 40" in score.note
    assert "cannot show loss" in score.note


def test_a_base_near_chance_has_retention_without_interval():
    score = keep_score("near", first(16, 40), first(16, 40), 0.25, seeded())  # P(X ≥ 16) = .026; limits from .249
    assert score.status == "measured"
    assert score.retention == 1
    assert score.retention_interval is None
    assert "too near to chance" in score.note


def test_an_empty_or_impossible_suite_is_refused():
    with pytest.raises(InputError, match="no items"):
        keep_score("empty", np.zeros(0, bool), np.zeros(0, bool), 0.25, seeded())
    with pytest.raises(ValueError, match="chance"):
        keep_score("sure", first(3, 30), first(3, 30), 1.0, seeded())
    with pytest.raises(ValueError, match="one for each"):
        keep_score("s", first(3, 30), first(3, 30), np.full(29, 0.25), seeded())


def test_a_cross_entropy_is_averaged_over_tokens():
    # Items of 1 and 3 tokens: (2·1 + 4·3)/4 = 3.5, then (1·1 + 3·3)/4 = 2.5.
    score = task_score(
        "headlines",
        "cross_entropy",
        higher_is_better=False,
        base=np.array([2.0, 4.0]),
        tuned=np.array([1.0, 3.0]),
        generator=seeded(),
        weights=np.array([1, 3]),
    )
    assert (score.n, score.base, score.tuned, score.gain) == (2, 3.5, 2.5, 1.0)
    assert score.interval == (-1, -1)


def test_a_right_or_wrong_task_metric_gets_the_interval_of_its_kind():
    base, tuned = first(5, 40).astype(float), first(12, 40).astype(float)
    score = task_score("qa", "exact_match", higher_is_better=True, base=base, tuned=tuned, generator=seeded())
    assert (score.base, score.tuned) == (0.125, 0.3)
    assert score.interval == keep_score("qa", base, tuned, 0.0, seeded()).interval


def test_a_broken_or_tiny_task_is_refused():
    good, broken = np.array([0.1, 0.2, 0.3]), np.array([0.1, np.nan, 0.3])
    with pytest.raises(RetainError, match="tuned model is not finite on item 1"):
        task_score("t", "loss", higher_is_better=False, base=good, tuned=broken, generator=seeded())
    with pytest.raises(InputError, match="at least two"):
        task_score("t", "loss", higher_is_better=False, base=good[:1], tuned=good[:1], generator=seeded())
    with pytest.raises(ValueError, match="one length"):
        task_score("t", "loss", higher_is_better=False, base=good, tuned=good[:2], generator=seeded())


def test_drift_by_hand():
    # Windows of 2 and 6 tokens.
    drift = drift_summary(
        np.array([6.0, 18.0]), np.array([8.0, 20.0]), np.array([1.0, 1.0]), np.array([1, 1]), np.array([2, 6]), seeded()
    )
    assert drift.tokens == 8
    assert drift.ce_base_nats_per_token == 3
    assert drift.ce_drift_nats_per_token == 0.5
    assert drift.kl_nats_per_token == drift.churn == 0.25
    # Two windows resample to one of them twice, (2/6, 1/6) · 2 and the like, or to both: the ends are 2/2 and 2/6.
    assert drift.ce_drift_interval == pytest.approx((1 / 3, 1))
    assert drift.kl_interval == drift.churn_interval == pytest.approx((1 / 6, 1 / 2))
    assert drift.note == ""


def test_one_window_has_figures_and_no_intervals():
    drift = drift_summary(*(np.array([x]) for x in (6.0, 8.0, 1.0, 1, 2)), seeded())
    assert drift.kl_nats_per_token == 0.5
    assert drift.kl_interval is drift.ce_drift_interval is drift.churn_interval is None
    assert "One window" in drift.note


def test_a_broken_drift_is_refused():
    two = np.array([1.0, 2.0])
    with pytest.raises(RetainError, match="not finite"):
        drift_summary(two, two, np.array([1.0, np.inf]), two, two, seeded())
    with pytest.raises(ValueError, match="at least one token"):
        drift_summary(two, two, two, two, np.array([1, 0]), seeded())
    with pytest.raises(ValueError, match="at least one token"):
        drift_summary(*[np.zeros(0)] * 5, seeded())
