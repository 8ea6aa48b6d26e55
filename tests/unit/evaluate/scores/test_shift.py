"""Robustness relative to the base: by hand, and intervals against a plain resampling of images."""

from __future__ import annotations

import numpy as np
import pytest

from retain.errors import InputError
from retain.evaluate.scores.shift import (
    corruption_error,
    mean_corruption_error,
    mean_corruption_interval,
    style_gap,
    style_gap_change_interval,
)
from retain.stats.bootstrap import right_wrong_interval


def seeded(seed=0):
    return np.random.default_rng(seed)


def test_corruption_error_by_hand():
    base = np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
    tuned = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    assert corruption_error(base, tuned) == 2 / 4
    assert corruption_error(tuned, base) == 4 / 2
    assert corruption_error(np.ones(4), np.zeros(4)) is None


def test_the_mean_says_what_it_leaves_out():
    base = {"fog": np.array([1, 0, 0, 0]), "noise": np.array([0, 0, 1, 1]), "easy": np.ones(4)}
    tuned = {"fog": np.array([1, 1, 1, 0]), "noise": np.zeros(4), "easy": np.array([1, 1, 1, 0])}
    found = mean_corruption_error(base, tuned)
    assert found.by_kind == pytest.approx({"fog": 1 / 3, "noise": 2, "easy": None})
    assert found.value == pytest.approx((1 / 3 + 2) / 2)
    assert found.left_out == ("easy",)
    nothing = mean_corruption_error({"easy": base["easy"]}, {"easy": tuned["easy"]})
    assert nothing.value is None
    assert mean_corruption_interval({"easy": base["easy"]}, {"easy": tuned["easy"]}, seeded()) is None


def pictures(seed=2, n=80):
    rng = seeded(seed)
    hard = rng.random(n)
    sides = [{kind: rng.random((5, n)) > hard * share for kind in ("fog", "noise")} for share in (0.9, 0.7)]
    return sides[0], sides[1]


def test_the_interval_resamples_pictures_with_all_their_corruptions():
    base, tuned = pictures()
    rng, samples = seeded(8), []
    for _ in range(4000):
        rows = rng.integers(80, size=80)
        samples.append(np.mean([(~tuned[k][:, rows]).sum() / (~base[k][:, rows]).sum() for k in base]))
    expected = np.quantile(samples, (0.0235, 0.9765))  # expanded_tail(80), all images changed somewhere
    assert mean_corruption_interval(base, tuned, seeded()) == pytest.approx(tuple(expected), abs=0.012)


def test_the_interval_in_parts_is_that_in_one(monkeypatch):
    base, tuned = pictures()
    whole = mean_corruption_interval(base, tuned, seeded())
    monkeypatch.setattr("retain.evaluate.scores.shift.CHUNK_DRAWS", 1000)
    assert mean_corruption_interval(base, tuned, seeded()) == pytest.approx(whole, abs=1e-12)


def test_a_base_that_hardly_errs_leaves_the_interval_open():
    base, tuned = {"fog": np.arange(40) > 0}, {"fog": np.arange(40) > 25}
    assert mean_corruption_error(base, tuned).value == 26
    assert mean_corruption_interval(base, tuned, seeded()) is None


def test_the_gap_by_hand():
    assert style_gap(np.array([1, 1, 1, 0]), np.array([1, 0])) == 0.25


def test_a_change_of_the_gap_puts_two_intervals_together():
    usual = (np.repeat([1, 1, 0, 0], [40, 15, 12, 33]), np.repeat([1, 0, 1, 0], [40, 15, 12, 33]))
    other = (np.repeat([1, 1, 0, 0], [50, 30, 5, 35]), np.repeat([1, 0, 1, 0], [50, 30, 5, 35]))
    drawn = [
        seeded(1).multinomial(n, np.array(cells) / n, size=40_000)
        for n, cells in ((100, [55 - 15, 15, 12, 33]), (120, [50, 30, 5, 35]))
    ]
    change = [(d[:, 2] - d[:, 1]) / n for d, n in zip(drawn, (100, 120), strict=True)]
    expected = np.quantile(change[0] - seeded(2).permutation(change[1]), (0.025, 0.975))
    found = style_gap_change_interval(usual, other, seeded())
    assert found == pytest.approx(tuple(expected), abs=0.02)
    gap = style_gap(usual[1], other[1]) - style_gap(usual[0], other[0])
    assert found[0] < gap < found[1]


def test_where_one_style_does_not_change_the_width_is_not_lost():
    same = (np.ones(200), np.ones(200))
    other = (np.repeat([1, 0], [30, 70]), np.repeat([0, 1], [30, 70]))
    found = style_gap_change_interval(same, other, seeded())
    alone = right_wrong_interval(30, 70, 100, seeded())
    assert found[0] < -alone[1] < -alone[0] < found[1]


def test_lopsided_intervals_are_put_together_the_right_way_round():
    few = (np.ones(30), np.repeat([0, 1], [6, 24]))  # six lost, none gained: closed form, far from symmetric
    same = (np.ones(200), np.ones(200))
    low, high = right_wrong_interval(6, 0, 30, seeded())
    reach = right_wrong_interval(0, 0, 200, seeded())[1]
    expected = (0.2 - np.sqrt(reach**2 + (high + 0.2) ** 2), 0.2 + np.sqrt(reach**2 + (-0.2 - low) ** 2))
    assert style_gap_change_interval(same, few, seeded()) == pytest.approx(expected)


def test_what_is_not_paired_is_refused():
    with pytest.raises(ValueError, match="one shape"):
        corruption_error(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="same kinds"):
        mean_corruption_error({"fog": np.ones(3)}, {"noise": np.ones(3)})
    two = {"fog": np.zeros(3), "noise": np.zeros(4)}
    with pytest.raises(ValueError, match="same images"):
        mean_corruption_interval(two, two, seeded())
    with pytest.raises(InputError, match="at least two images"):
        mean_corruption_interval({"fog": np.zeros(1)}, {"fog": np.ones(1)}, seeded())
    with pytest.raises(ValueError, match="at least one item"):
        style_gap(np.array([], dtype=bool), np.ones(2))
