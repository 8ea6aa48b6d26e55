"""Calibration against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from retain.evaluate.scores.calibration_error import (
    brier,
    brier_items,
    ece,
    nll,
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
