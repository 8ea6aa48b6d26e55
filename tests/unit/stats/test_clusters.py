"""Groups of items as units: the tests against enumeration, McNemar and scipy; the interval by its coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from retain.errors import InputError
from retain.stats import clusters
from retain.stats.bootstrap import FEW_CHANGED, clopper_pearson, ratio_intervals, right_wrong_interval
from retain.stats.clusters import (
    bounded_interval,
    cluster_changes,
    cluster_interval,
    effective_number,
    graded_interval,
    graded_p,
    sign_flip_p,
)
from retain.stats.mcnemar import mcnemar_p


def seeded(seed=0):
    return np.random.default_rng(seed)


def enumerated_p(changes):
    """Every combination of signs, one by one, in whole numbers."""
    signs = np.array(list(itertools.product((-1, 1), repeat=len(changes))))
    return float((np.abs(signs @ changes) >= abs(changes.sum())).mean())


def test_changes_by_hand():
    base = np.array([1, 1, 0, 1, 0, 1], bool)
    tuned = np.array([0, 1, 1, 0, 0, 1], bool)
    found = cluster_changes(base, tuned, ["b", "a", "b", "b", "a", "c"])
    assert [x.tolist() for x in found] == [[2, 0, 0], [1, 0, 0], [3, 2, 1]]


def test_without_groups_every_item_stands_alone():
    base, tuned = np.array([1, 0, 1], bool), np.array([0, 1, 1], bool)
    assert [x.tolist() for x in cluster_changes(base, tuned)] == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]


def test_every_item_needs_a_group():
    with pytest.raises(ValueError, match="one group for each of 3"):
        cluster_changes(np.ones(3, bool), np.ones(3, bool), ["a"])
    with pytest.raises(ValueError, match="one length"):
        cluster_changes(np.ones(3, bool), np.ones(2, bool))


def test_effective_number_by_hand():
    assert effective_number(np.full(8, 5)) == pytest.approx(8)
    assert effective_number(np.array([1, 1, 2])) == pytest.approx(16 / 6)
    assert effective_number(np.zeros(3)) == 0


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (6, 0), (5, 5), (13, 4), (40, 25), (700, 620), (3000, 100)])
@pytest.mark.parametrize("size", [1, 3])
def test_single_items_and_groups_lost_whole_are_mcnemar(lost, gained, size):
    changes = size * np.repeat([-1, 1, 0], [lost, gained, 7])
    assert abs(sign_flip_p(changes) - mcnemar_p(lost, gained)) <= 1e-12


@pytest.mark.parametrize("ones", [2, 15, 1500])
def test_the_convolution_is_mcnemar_where_it_must_be(ones):
    """A group of 2 beside many single items: both its signs, by hand, from the binomial distribution."""
    changes = np.repeat([-1, 1, 2], [ones, ones // 2, 1])
    steps, net = ones + ones // 2, abs(int(changes.sum()))
    k = np.arange(steps + 1)
    pmf = stats.binom.pmf(k, steps, 0.5)
    expected = np.mean([pmf[np.abs(2 * k - steps + sign * 2) >= net].sum() for sign in (-1, 1)])
    assert sign_flip_p(changes) == pytest.approx(min(1, expected), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("seed", range(6))
def test_sign_flips_against_every_combination(seed):
    rng = seeded(seed)
    changes = rng.integers(-6, 4, 12)
    expected = enumerated_p(changes)
    assert sign_flip_p(changes) == pytest.approx(expected, abs=1e-12)
    assert graded_p(changes * 0.1, seeded()) == pytest.approx(expected, abs=1e-12)  # 0.1 + 0.2 must tie with 0.3


def test_sign_flips_against_scipy():
    changes = seeded(3).normal(-0.4, 1, 13)
    expected = stats.permutation_test((changes,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert graded_p(changes, seeded()) == pytest.approx(expected, abs=1e-12)


def test_nothing_changed_is_no_evidence():
    assert sign_flip_p(np.zeros(9, int)) == sign_flip_p(np.array([], int)) == graded_p(np.zeros(9), seeded()) == 1
    assert sign_flip_p(np.array([3, -2, -1])) == graded_p(np.array([0.3, -0.2, -0.1]), seeded()) == 1


def test_changes_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="whole items"):
        sign_flip_p(np.array([0.5]))
    with pytest.raises(ValueError, match="finite"):
        graded_p(np.array([0.5, np.nan]), seeded())


def test_the_normal_approximation_is_near(monkeypatch):
    given = [seeded(5).integers(low, 10, 2000) for low in (-9, -10)]
    exact = [sign_flip_p(changes) for changes in given]
    monkeypatch.setattr(clusters, "LARGEST_CONVOLUTION", 0)
    assert [sign_flip_p(changes) for changes in given] == pytest.approx(exact, rel=0.05)
    assert min(exact) < 0.05 < max(exact)


def test_drawn_signs_are_near_the_exact_test():
    for low in (-5, -6, -7):
        changes = seeded(4).integers(low, 6, 60)
        exact = sign_flip_p(changes)
        # 200 hits leave 7 %, three of which are allowed for.
        assert exact > 0.002
        assert graded_p(changes / 7, seeded()) == pytest.approx(exact, rel=0.21)
    assert graded_p(np.full(60, -0.1), seeded()) == pytest.approx(1 / 100_000)


def test_drawn_p_values_keep_their_level():
    rng = seeded(6)
    p = np.array([graded_p(rng.standard_t(3, 25), rng) for _ in range(400)])
    for level in (0.02, 0.05, 0.2, 0.5):
        assert stats.binomtest(int((p <= level).sum()), 400, level, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (3, 1), (30, 12)])
def test_groups_of_one_have_the_interval_of_items(lost, gained):
    moved = [np.repeat(row, [lost, gained, 100]) for row in ([1, 0, 0], [0, 1, 0])]
    found = cluster_interval(*moved, np.ones(lost + gained + 100), seeded())
    assert found == right_wrong_interval(lost, gained, lost + gained + 100, seeded())


@pytest.mark.parametrize("count", [0, 1, 4, 12])
@pytest.mark.parametrize("groups", [15, 60])
def test_groups_lost_whole_have_the_exact_limit(count, groups):
    lost = np.repeat([8, 0], [count, groups - count])
    low, high = cluster_interval(lost, np.zeros(groups), np.full(groups, 8), seeded())
    assert low == pytest.approx(-clopper_pearson(count, groups)[1], abs=0.012)
    if count == 0:
        assert high == pytest.approx(1 - 0.025 ** (1 / groups), abs=0.012)


def test_many_changed_groups_are_resampled():
    rng = seeded(2)
    lost, gained, sizes = rng.binomial(5, 0.2, 80), rng.binomial(5, 0.1, 80), np.full(80, 9)
    assert effective_number(gained - lost) >= FEW_CHANGED
    expected = stats.bootstrap(
        (gained - lost,), lambda d: d.sum() / (9 * len(d)), method="percentile", rng=seeded(1), vectorized=False
    ).confidence_interval
    assert cluster_interval(lost, gained, sizes, seeded()) == pytest.approx(tuple(expected), abs=0.006)


def test_one_group_that_outweighs_all_others_is_not_many_changes():
    d, sizes = np.array([-40] + [-1, 1] * 15 + [0] * 30), np.array([40] + [2] * 60)
    assert np.count_nonzero(d) >= FEW_CHANGED
    low, _ = bounded_interval(d, sizes, 1.0, seeded())
    assert low < ratio_intervals([d], sizes, seeded())[0][0]


def test_an_empty_suite_has_no_interval():
    with pytest.raises(InputError, match="at least one item"):
        cluster_interval(np.array([]), np.array([]), np.array([]), seeded())


def test_a_bounded_metric_without_change_still_has_a_width():
    low, high = graded_interval(np.zeros(30), np.ones(30), seeded(), 100.0)
    assert (low, high) == pytest.approx((-100 * (1 - 0.025 ** (1 / 30)), 100 * (1 - 0.025 ** (1 / 30))), rel=0.08)
    assert graded_interval(np.zeros(30), np.ones(30), seeded()) == (0, 0)


def drawn_groups(rng, count, size, churn, losses, correlation, together):
    """Changes of groups whose items change with a Beta-drawn probability; one group's all one way, or each its own."""
    if correlation == 1:
        rates = (rng.random(count) < churn).astype(float)
    else:
        spread = 1 / correlation - 1
        rates = rng.beta(churn * spread, (1 - churn) * spread, count)
    changed = rng.binomial(size, rates)
    lost = np.where(rng.random(count) < losses, changed, 0) if together else rng.binomial(changed, losses)
    return lost, changed - lost


@pytest.mark.parametrize("count", [20, 80])
@pytest.mark.parametrize("size", [2, 5, 40])
def test_coverage_whatever_the_correlation(monkeypatch, count, size):
    monkeypatch.setattr("retain.stats.bootstrap.RESAMPLES", 500)
    rng, draws = seeded(100 * count + size), 150
    for churn, losses, correlation in itertools.product((0.02, 0.2), (1.0, 0.5), (0.05, 0.5, 1.0)):
        truth, covered = churn * (1 - 2 * losses), 0
        for _ in range(draws):
            lost, gained = drawn_groups(rng, count, size, churn, losses, correlation, together=True)
            low, high = cluster_interval(lost, gained, np.full(count, size), rng)
            covered += low - 1e-12 <= truth <= high + 1e-12
        # Not significantly below 93.5 %.
        p = stats.binomtest(covered, draws, 0.935, alternative="less").pvalue
        assert p > 0.01, (churn, losses, correlation, covered / draws)
