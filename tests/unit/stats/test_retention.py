"""Retention, its interval and the test against chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from retain.stats.bootstrap import expanded_tail, right_wrong_interval
from retain.stats.retention import above_chance, retention, retention_interval


def seeded(seed=0):
    return np.random.default_rng(seed)


def answers(both, lost, gained, neither):
    cells = [both, lost, gained, neither]
    return np.repeat([1, 1, 0, 0], cells).astype(bool), np.repeat([1, 0, 1, 0], cells).astype(bool)


def test_retention_by_hand():
    assert retention(0.75, 0.5, 0.25) == 0.5
    assert retention(0.75, 0.25, 0.25) == 0
    assert retention(0.5, 0.625, 0.25) == 1.5
    assert retention(0.75, 0.125, 0.25) == -0.25


def test_retention_is_undefined_where_the_base_knows_nothing():
    assert retention(0.25, 0.5, 0.25) is None
    assert retention(0.2, 0.5, 0.25) is None


def test_interval_against_scipy():
    base, tuned = answers(150, 25, 10, 64)
    found = stats.bootstrap(
        (base, tuned),
        lambda b, t: (t.mean() - 0.25) / (b.mean() - 0.25),
        paired=True,
        method="percentile",
        n_resamples=10_000,
        confidence_level=1 - 2 * expanded_tail(35),
        rng=seeded(7),
        vectorized=False,
    ).confidence_interval
    assert retention_interval(base, tuned, 0.25, seeded()) == pytest.approx(tuple(found), abs=0.01)


def test_nothing_changed_still_has_a_width():
    base, tuned = answers(182, 0, 0, 67)
    low, high = retention_interval(base, tuned, 0.25, seeded())
    # δ up to 1 − .025^(1/249) = .0147 either way, of the base's 182/249 − ¼ = .481 above chance: about ±.031.
    assert (low, high) == pytest.approx((0.969, 1.031), abs=0.001)


def test_a_base_that_may_be_at_chance_has_no_interval():
    assert retention_interval(*answers(9, 0, 0, 18), 0.25, seeded()) is None  # few changed: 9 of 27, limits from .165
    assert retention_interval(*answers(10, 20, 20, 50), 0.25, seeded()) is None  # many changed: 30 of 100


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (4, 0), (6, 0), (0, 6), (7, 4), (30, 5), (5, 30), (20, 18)])
def test_it_holds_one_where_the_change_holds_zero(lost, gained):
    base, tuned = answers(150, lost, gained, 99 - lost - gained)
    low, high = retention_interval(base, tuned, 0.25, seeded())
    change = right_wrong_interval(lost, gained, 249, seeded())
    assert (low <= 1 <= high) == (change[0] <= 0 <= change[1])
    assert low <= retention(base.mean(), tuned.mean(), 0.25) <= high


@pytest.mark.parametrize(
    ("n", "accuracy", "lost", "gained"),
    [(50, 0.73, 0.02, 0.0), (100, 0.5, 0.05, 0.0), (249, 0.73, 0.05, 0.05), (249, 0.95, 0.1, 0.0)],
)
def test_coverage(monkeypatch, n, accuracy, lost, gained):
    monkeypatch.setattr("retain.stats.retention.RESAMPLES", 2000)
    truth = 1 + (gained - lost) / (accuracy - 0.25)
    draws = seeded(3).multinomial(n, [accuracy - lost, lost, gained, 1 - accuracy - gained], size=400)
    outcomes, times = np.unique(draws, axis=0, return_counts=True)
    found = [retention_interval(*answers(*outcome), 0.25, seeded(1)) for outcome in outcomes]
    hits = [interval is None or interval[0] <= truth <= interval[1] for interval in found]
    assert np.average(hits, weights=times) >= 0.93  # two standard errors of 400 draws below .95


def test_above_chance_against_scipy():
    for right in range(25):
        exact = stats.binom.sf(right - 1, 24, 0.25)
        assert above_chance(right, 24, 0.25) == (exact < 0.05)


def test_without_chance_one_right_answer_is_knowledge():
    assert above_chance(1, 3, 0.0)
    assert not above_chance(0, 2, 0.0)
