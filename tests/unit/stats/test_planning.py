"""Holm's rule against statsmodels; the power against simulation and against every outcome; the plans by going on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from retain.stats.bootstrap import few_changes_interval
from retain.stats.clusters import graded_interval, graded_p
from retain.stats.holm import holm
from retain.stats.mcnemar import mcnemar_p
from retain.stats.planning import (
    MOST_ITEMS,
    chance_level_power,
    fewest_units,
    has_power,
    items_to_settle,
    units_to_settle,
)


@pytest.mark.parametrize("seed", range(5))
def test_holm_against_statsmodels(seed):
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.random(7) ** 4, [0.01, 0.01, 0.0, 1.0]])
    assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-15)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([0.5, 1.2])


@pytest.mark.parametrize(
    ("right", "n", "chance", "alpha"),
    [(20, 24, 0.25, 0.05), (30, 40, 0.5, 0.005), (9, 10, 0.0, 0.05), (0, 10, 0.25, 0.05), (35, 100, 0.25, 0.05)],
)
def test_power_over_every_outcome(right, n, chance, alpha):
    expected = sum(
        stats.binom.pmf(lost, right, 1 - chance) * stats.binom.pmf(gained, n - right, chance)
        for lost in range(right + 1)
        for gained in range(n - right + 1)
        if lost > gained and mcnemar_p(lost, gained) < alpha
    )
    assert chance_level_power(right, n, chance, alpha) == pytest.approx(expected, abs=1e-10)


def test_power_against_simulation():
    rng = np.random.default_rng(2)
    lost, gained = rng.binomial(1150, 0.75, 400), rng.binomial(2850, 0.25, 400)
    called = [bool(b > g and mcnemar_p(int(b), int(g)) < 0.0002) for b, g in zip(lost, gained, strict=True)]
    power = chance_level_power(1150, 4000, 0.25, 0.0002)
    assert 0.2 < power < 0.8
    assert stats.binomtest(sum(called), 400, power).pvalue > 0.01


def test_a_base_that_guesses_shows_nothing():
    assert chance_level_power(100, 400, 0.25) < 0.05
    assert not has_power(100, 400, 0.25)


def test_what_stands_together_counts_once():
    assert has_power(80, 100, 0.25)
    assert not has_power(80, 100, 0.25, units=10)
    assert has_power(80, 100, 0.25, units=40) == has_power(32, 40, 0.25)


def test_fewest_units_by_hand():
    assert fewest_units(0.05) == 6  # 2⁻⁵ < .05 < 2⁻⁴
    assert fewest_units(2.0**-5) == 7
    assert graded_p(-np.ones(6), np.random.default_rng(0)) == 2**-5


@pytest.mark.parametrize(
    ("lost", "gained", "n", "right"),
    [(0, 0, 24, 20), (2, 3, 60, 40), (9, 5, 60, 45), (1, 0, 10, 8), (30, 30, 200, 120)],
)
@pytest.mark.parametrize("tests", [1, 10])
def test_the_plan_settles_the_suite(lost, gained, n, right, tests):
    """Counts grown by hand to a little more than the plan settle the suite; a little less, they do not."""
    needed = items_to_settle(lost, gained, n, 0.05, base_right=right, chance=0.25, tests=tests)
    assert needed is not None
    assert needed > n

    def settled(size, towards):
        b, g = ((count + 0.5) / (n + 1) * size for count in (lost, gained))
        called = mcnemar_p(towards(b), round(g)) * tests < 0.05 and b > g
        if b + g < 20:
            low = few_changes_interval(b, g, size)[0]
        else:
            low = (g - b) / size - 1.96 * np.sqrt(((b + g) / size - ((g - b) / size) ** 2) / size)
        return called or (low > -0.05 and has_power(round(right / n * size), size, 0.25, 0.05 / tests))

    assert settled(round(1.1 * needed) + 1, math.ceil)
    if needed > n + 1:
        assert not settled(round(0.85 * needed) - 1, math.floor)


def test_no_number_settles_what_cannot_be_settled():
    assert items_to_settle(5, 5, 40, 0.05, base_right=10, chance=0.25) is None  # the base guesses
    assert items_to_settle(200, 200, 1000, 1e-5, base_right=700) is None
    assert units_to_settle(0.05, (-0.04, 0.06), 20, 0.05, tests=10**9) is not None
    assert units_to_settle(0.0, (-1.0, 1.0), 20, 1e-6) is None


def test_groups_need_more_items():
    alone = items_to_settle(3, 3, 100, 0.05, base_right=80)
    grouped = items_to_settle(3, 3, 100, 0.05, base_right=80, units=20)
    assert alone < grouped <= MOST_ITEMS


def test_zero_changes_are_not_zero_churn():
    """24 unchanged items: below 5 points it would take 1 − .025^(1/N) < .05, N = 72, if nothing ever changed."""
    assert items_to_settle(0, 0, 24, 0.05, base_right=24) > 72


def test_the_plan_for_a_metric_with_degrees():
    changes = np.random.default_rng(1).normal(0, 0.4, 40)
    interval = graded_interval(changes, np.ones(40), np.random.default_rng(2))
    needed = units_to_settle(-float(changes.mean()), (-interval[1], -interval[0]), 40, 0.05)
    times = math.ceil(needed / 40)
    for more, settles in ((times + 1, True), (times // 2, False)):
        again = np.tile(changes, more)  # the same mean and spread on more units
        low = graded_interval(again, np.ones(len(again)), np.random.default_rng(3))[0]
        assert (low > -0.05 or graded_p(again, np.random.default_rng(4)) < 0.05) == settles
    assert units_to_settle(0.0, (-0.01, 0.01), 4, 0.05) == fewest_units(0.05)
    assert units_to_settle(0.0, (-0.01, 0.01), 4, 0.05, able=0.5) == 2 * fewest_units(0.05)
