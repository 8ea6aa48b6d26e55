"""The two tests of a loss: against brute force, against other tests' sizes, and what must hold for any data."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from retain.stats.bounds import GAMMA, mean_bound, mean_p_value, net_loss_bound, net_loss_p_value
from retain.stats.planning import fewest_items_to_certify, fewest_units_to_certify, items_to_certify, units_to_certify

quick = settings(max_examples=40, deadline=None, derandomize=True)


def tail(net, n, lost_rate, gained_rate):
    """P(lost − gained ≤ net), by adding up every pair of counts."""
    lost, gained = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = (lost + gained <= n) & (lost - gained <= net)
    L, G = lost[possible], gained[possible]
    same = max(0.0, 1 - lost_rate - gained_rate)
    logs = special.gammaln(n + 1) - special.gammaln(L + 1) - special.gammaln(G + 1) - special.gammaln(n - L - G + 1)
    logs += special.xlogy(L, lost_rate) + special.xlogy(G, gained_rate) + special.xlogy(n - L - G, same)
    return float(np.exp(logs).sum())


def brute_p(lost, gained, n, limit, points=400):
    """gamma and the largest tail on a fine grid of the rate of changes, at the edge of H0."""
    changed = lost + gained
    most = 1.0 if changed == n else float(stats.beta.ppf(1 - GAMMA, changed + 1, n - changed))
    if most < abs(limit):
        return GAMMA if limit > 0 else min(1.0, GAMMA + tail(lost - gained, n, 0.0, most))
    rates = np.linspace(abs(limit), most, points)
    return min(1.0, GAMMA + max(tail(lost - gained, n, (d + limit) / 2, (d - limit) / 2) for d in rates))


@pytest.mark.parametrize(
    ("lost", "gained", "n", "limit"),
    [
        (0, 0, 40, 0.05),
        (0, 0, 40, 0.2),
        (1, 2, 40, 0.1),
        (3, 1, 40, 0.2),
        (8, 8, 40, 0.2),
        (5, 0, 40, 0.1),
        (0, 9, 40, 0.0),
        (0, 3, 40, -0.02),
        (0, 0, 40, -0.3),
        (20, 20, 40, 0.1),
        (1, 0, 1, 0.5),
    ],
)
def test_the_p_value_is_the_largest_tail_and_never_below_it(lost, gained, n, limit):
    expected = brute_p(lost, gained, n, limit)
    found = net_loss_p_value(lost, gained, n, limit)
    assert found >= expected - 1e-9
    assert found <= min(1.0, expected + max(2e-3, expected**2 / 20))


@pytest.mark.parametrize(("lost", "gained", "n", "limit"), [(3, 2, 400, 0.02), (12, 9, 900, 0.02), (30, 40, 2000, 0.0)])
def test_the_search_misses_no_peak_on_a_much_finer_grid(lost, gained, n, limit):
    """Tails by another way: the distribution of the difference as a sum over gained of two binomials."""
    most = float(stats.beta.ppf(1 - GAMMA, lost + gained + 1, n - lost - gained))
    rates = np.linspace(limit, most, 4001)[1:]
    gains, p_lost, p_gained = np.arange(0, 200), (rates + limit) / 2, (rates - limit) / 2
    weights = stats.binom.pmf(gains[:, None], n, p_gained)
    tails = (
        weights * stats.binom.cdf(lost - gained + gains[:, None], n - gains[:, None], p_lost / (1 - p_gained))
    ).sum(0)
    found = net_loss_p_value(lost, gained, n, limit) - GAMMA
    assert tails.max() <= found + 1e-9
    assert found <= tails.max() + max(GAMMA / 50, tails.max() ** 2 / 25) + 1e-4


def test_several_thousand_items_are_quick():
    net_loss_p_value(1, 1, 100, 0.05)
    took = []
    for lost in (60, 61, 62):
        start = time.process_time()
        net_loss_p_value(lost, 40, 4000, 0.01)
        took.append(time.process_time() - start)
    assert min(took) < 0.5  # 20 ms on one free core


@quick
@given(st.integers(1, 120), st.integers(0, 20), st.integers(0, 20), st.floats(-0.2, 0.4), st.floats(0, 0.3))
def test_p_falls_with_the_limit_and_rises_with_items_lost(n, lost, gained, limit, more):
    lost, gained = min(lost, n), min(gained, n - min(lost, n))
    p = net_loss_p_value(lost, gained, n, limit)
    slack = max(GAMMA / 50, p**2 / 20)
    assert GAMMA <= p <= 1
    assert net_loss_p_value(lost, gained, n, limit + more) <= p + slack
    if lost + gained < n:
        assert net_loss_p_value(lost + 1, gained, n, limit) >= p - slack


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(1, 150), st.integers(0, 12), st.integers(0, 12), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_bound_is_where_p_meets_the_level(n, lost, gained, confidence):
    lost, gained = min(lost, n), min(gained, n - min(lost, n))
    bound, error = net_loss_bound(lost, gained, n, confidence), 1 - confidence
    assert (lost - gained) / n <= bound <= 1
    if bound < 1:
        assert net_loss_p_value(lost, gained, n, bound, error / 10) <= error + error / 50 + 1e-9
        below = max(-1.0, bound - 2e-3)
        assert net_loss_p_value(lost, gained, n, below, error / 10) > error - error / 50
    assert net_loss_bound(lost, gained, n, 0.97) >= bound - 1e-4


def test_all_lost_is_all_that_can_be_said():
    assert net_loss_bound(30, 0, 30, 0.95) == 1.0


def test_counts_that_do_not_fit_are_refused():
    for wrong in [(3, 3, 5, 0.1), (-1, 0, 5, 0.1), (0, 0, 0, 0.1), (0, 0, 5, 1.5)]:
        with pytest.raises(ValueError, match="."):
            net_loss_p_value(*wrong)


losses_in_range = st.lists(st.floats(-1, 1), min_size=1, max_size=60).map(np.array)


@quick
@given(losses_in_range, st.floats(-1, 0.9), st.floats(0, 0.09), st.randoms(use_true_random=False))
def test_the_betting_p_falls_with_the_limit_and_knows_no_order(losses, limit, more, shuffler):
    p = mean_p_value(losses, limit, -1, 1)
    assert 0 <= p <= 1
    assert mean_p_value(losses, limit + more, -1, 1) <= p
    order = list(range(len(losses)))
    shuffler.shuffle(order)
    assert mean_p_value(losses[order], limit, -1, 1) == p
    assert mean_p_value(np.minimum(1, losses + 0.1), limit, -1, 1) >= p


@quick
@given(losses_in_range, st.sampled_from([0.8, 0.95, 0.99]))
def test_the_bound_of_the_mean_is_where_p_meets_the_level(losses, confidence):
    bound = mean_bound(losses, confidence, -1, 1)
    assert losses.mean() - 1e-12 <= bound <= 1
    if bound < 1:
        assert mean_p_value(losses, bound, -1, 1) <= 1 - confidence
        assert mean_p_value(losses, max(-1.0, bound - 1e-4), -1, 1) > 1 - confidence or bound - losses.mean() < 2e-4


def test_the_capital_is_one_on_average_at_the_edge_of_h0():
    """E[1/p] ≤ 1 where the mean is the limit: all outcomes of 12 skewed units, added up."""
    n, limit, rare = 12, 0.1, 0.1
    hits = np.arange(n + 1)
    chances = stats.binom.pmf(hits, n, rare)
    p = np.array([mean_p_value(np.repeat([1.0, 0.0], [k, n - k]), limit, 0, 1) for k in hits])
    assert chances @ np.where(p < 1, 1 / p, 0) <= 1
    for level in (0.5, 0.2, 0.05):
        assert chances[p <= level].sum() <= level


def test_losses_outside_the_range_are_refused():
    for losses, limit in [([0.5, 2.0], 0.1), ([], 0.1), ([np.nan], 0.1), ([0.5], 1.0), ([0.5], -0.5)]:
        with pytest.raises(ValueError, match="."):
            mean_p_value(np.array(losses), limit, 0, 1)


def hoeffding_bentkus(half, n, limit):
    """p-value of Learn then Test for a mean of `half` over n values in [0, 1], limit in the same unit."""
    divergence = special.rel_entr(half, limit) + special.rel_entr(1 - half, 1 - limit)
    return min(np.exp(-n * divergence), np.e * stats.binom.cdf(np.ceil(n * half), n, limit))


def test_the_figures_in_the_docstring():
    """Limit 2 points, losses .5 % one, .5 % minus one: units needed by three tests."""
    losses = np.repeat([1.0, -1.0, 0.0], [5, 5, 990])
    sizes = np.arange(10_000, 12_000, 10)
    by_range = next(n for n in sizes if hoeffding_bentkus(0.5, n, (1 + 0.02) / 2) <= 0.05)
    assert round(by_range, -3) == 11_000
    assert units_to_certify(losses, 0.02, 0.95, -1, 1) == 399
    assert items_to_certify(5, 5, 1000, 0.02, 0.95) == 342


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 5), (4, 0)])
def test_items_needed_is_where_the_test_turns(lost, gained):
    size = items_to_certify(lost, gained, 1000, 0.03, 0.95)
    counts = int(np.ceil(lost * size / 1000)), int(np.floor(gained * size / 1000))
    assert net_loss_p_value(*counts, size, 0.03) <= 0.05 + 1e-4
    assert fewest_items_to_certify(0.03, 0.95) <= size
    fewer = fewest_items_to_certify(0.03, 0.95) - 1
    assert net_loss_p_value(0, 0, fewer, 0.03) > 0.05


def test_units_needed_is_where_the_test_turns():
    losses = np.repeat([1.0, 0.0, -0.5], [1, 60, 1])
    size = units_to_certify(losses, 0.05, 0.95, -1, 1)
    copies = size // len(losses)
    assert mean_p_value(np.tile(losses, copies + 1), 0.05, -1, 1) <= 0.05
    assert mean_p_value(np.tile(losses, copies), 0.05, -1, 1) > 0.05 or size == copies * len(losses)
    fewest = fewest_units_to_certify(0.05, 0.95, 1.0)
    assert mean_p_value(np.zeros(fewest), 0.05, -1, 1) <= 0.05 < mean_p_value(np.zeros(fewest - 1), 0.05, -1, 1)


def test_what_no_number_of_items_would_show():
    assert items_to_certify(20, 0, 1000, 0.02, 0.95) is None
    assert units_to_certify(np.full(9, 0.02), 0.02, 0.95, 0, 1) is None
    assert fewest_items_to_certify(0.0, 0.95) is None
    assert fewest_units_to_certify(0.0, 0.95, 1.0) is None


def test_a_plan_for_many_items_agrees_with_the_test():
    """Above the exact search, by the normal approximation: the test turns within a few percent of it."""
    size = items_to_certify(330, 300, 10_000, 0.0055, 0.95)
    assert size > 20_000
    counts = [(round(0.033 * n), round(0.03 * n), n) for n in (round(0.9 * size), round(1.15 * size))]
    p = [net_loss_p_value(*c, 0.0055) for c in counts]
    assert p[0] > 0.05 > p[1]
