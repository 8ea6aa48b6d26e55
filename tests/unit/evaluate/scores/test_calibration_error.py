"""Calibration against scikit-learn, by hand, and against exact limits where one bin makes them exact."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

from retain.errors import InputError
from retain.evaluate.scores import calibration_error as calibration
from retain.evaluate.scores.calibration_error import (
    brier,
    brier_interval,
    brier_items,
    ece,
    ece_interval,
    nll,
    nll_interval,
    nll_items,
    reliability_bins,
)


def seeded(seed=0):
    return np.random.default_rng(seed)


def sample(n=90, k=4, seed=1):
    rng = seeded(seed)
    probabilities = rng.dirichlet(np.full(k, 0.6), n)
    return probabilities, np.array([rng.choice(k, p=row) for row in probabilities])


def sure(confidence, right):
    """Two labels: the first is chosen with this confidence, and is true where the answer is right."""
    confidence = np.asarray(confidence, dtype=float)
    return np.column_stack([confidence, 1 - confidence]), 1 - np.asarray(right)


def test_brier_and_likelihood_are_those_of_scikit_learn():
    p, y = sample()
    assert brier(p, y) == pytest.approx(metrics.brier_score_loss(y, p, labels=np.arange(4), scale_by_half=False))
    assert nll(p, y) == pytest.approx(metrics.log_loss(y, p, labels=np.arange(4)))


def test_brier_and_likelihood_by_hand():
    p, y = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]), np.array([1, 2])
    assert brier_items(p, y) == pytest.approx([0.25 + 0.49 + 0.04, 2])
    assert nll_items(p, y) == pytest.approx([-np.log(0.3), 52 * np.log(2)])


def test_ece_by_hand():
    # Two bins of two: confidences .6 and .7 (one right: .5 against .65), .8 and 1 (both right: 1 against .9).
    p, y = sure([0.8, 0.6, 1.0, 0.7], [1, 1, 1, 0])
    assert ece(p, y, bins=2) == pytest.approx((2 * 0.15 + 2 * 0.1) / 4)
    assert [(round(b.confidence, 9), b.accuracy, b.n) for b in reliability_bins(p, y, bins=2)] == [
        (0.65, 0.5, 2),
        (0.9, 1.0, 2),
    ]


def test_bins_are_of_equal_mass():
    p, y = sample(n=100)
    found = reliability_bins(p, y)
    assert len(found) == 15
    assert {part.n for part in found} == {6, 7}
    # The same bins by cutting the sorted items where i·15/100 passes a whole number.
    order = np.argsort(p.max(axis=1))
    right = (p.argmax(axis=1) == y)[order]
    cuts = [-(-b * 100 // 15) for b in range(1, 15)]
    parts = zip(np.split(right, cuts), np.split(p.max(axis=1)[order], cuts), strict=True)
    assert ece(p, y) == pytest.approx(sum(abs(r.sum() - c.sum()) for r, c in parts) / 100)


def test_equal_confidences_stay_together_whatever_their_order():
    p, y = sure([0.7] * 10, [1] * 7 + [0] * 3)
    assert ece(p, y) == pytest.approx(0, abs=1e-12)
    assert ece(p[::-1], y[::-1]) == pytest.approx(0, abs=1e-12)
    assert [part.n for part in reliability_bins(p, y)] == [10]


def test_the_interval_of_one_bin_has_exact_limits():
    # All of one confidence: the ECE is the distance of one proportion, its limits are those of the proportion.
    p, y = sure([0.8] * 100, [1] * 60 + [0] * 40)
    low, high = proportion_confint(60, 100, method="beta")
    assert ece_interval(p, y, seeded()) == pytest.approx((0.8 - high, 0.8 - low), abs=0.012)


def test_a_calibrated_model_may_be_perfect():
    rng = seeded(4)
    confidence = rng.uniform(0.5, 1, 300)
    p, y = sure(confidence, (rng.random(300) < confidence).astype(int))
    low, high = ece_interval(p, y, seeded())
    assert low == 0
    assert ece(p, y) <= high < 2 * ece(p, y)
    assert ece_interval(p, y, seeded()) == (low, high)


def test_a_model_far_too_sure_is_told_so():
    p, y = sure(seeded(5).uniform(0.9, 1, 400), seeded(6).random(400) < 0.5)
    low, high = ece_interval(p, y, seeded())
    assert 0.3 < low < ece(p, y) < high < 0.6


@pytest.mark.parametrize(
    ("chance", "truth"),
    [
        (lambda c: np.where(c > 0.9, c - 0.2, c), 0.04),  # a fifth of the items off by .2
        (lambda c: c - 0.1, 0.1),  # all off by .1
    ],
)
def test_the_interval_holds_the_truth_wherever_the_model_is_off(monkeypatch, chance, truth):
    monkeypatch.setattr(calibration, "DRAWS", 200)
    rng, low, high = seeded(20), [], []
    for _ in range(60):
        confidence = rng.uniform(0.5, 1, 500)
        ends = ece_interval(*sure(confidence, rng.random(500) < chance(confidence)), rng)
        low.append(ends[0] <= truth)
        high.append(ends[1] >= truth)
    # 97.5 % asked on each side: 58.5 of 60. With the spread that was seen alone 50 and 55 of these hold.
    assert sum(low) >= 56
    assert sum(high) >= 56


def test_intervals_of_means_against_scipy():
    p, y = sample(n=120)
    for interval, items in ((brier_interval, brier_items), (nll_interval, nll_items)):
        drawn = stats.bootstrap((items(p, y),), np.mean, n_resamples=5000, method="percentile", rng=seeded(3))
        assert interval(p, y, seeded()) == pytest.approx(tuple(drawn.confidence_interval), abs=0.02)


def test_what_are_no_probabilities_is_refused():
    p, y = sample(n=5)
    for wrong in (p * 2, np.log(p), p - 0.5, np.full_like(p, np.nan)):
        with pytest.raises(ValueError, match="sum to 1"):
            ece(wrong, y)
    for labels in (y + 4, y - 4, y / 2):
        with pytest.raises(ValueError, match="whole numbers from 0 to 3"):
            brier(p, labels)
    with pytest.raises(ValueError, match="shapes"):
        nll(p, y[:-1])
    with pytest.raises(InputError, match="at least two"):
        ece_interval(p[:1], y[:1], seeded())
