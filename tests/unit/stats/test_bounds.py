"""The betting test of a mean loss, and the items that both tests need: against other tests, and for any data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from retain.stats.bounds import mean_bound, mean_p_value
from retain.stats.net_loss import net_loss_p_value
from retain.stats.planning import fewest_items_to_certify, fewest_units_to_certify, items_to_certify, units_to_certify

quick = settings(max_examples=40, deadline=None, derandomize=True)


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
    assert units_to_certify(losses, 0.02, 0.95, -1, 1) == 394
    assert items_to_certify(5, 5, 1000, 0.02, 0.95) == 255


@pytest.mark.parametrize("page", ["concepts", "guides"])
def test_the_items_needed_are_those_of_the_documentation(page):
    text = (Path(__file__).resolve().parents[3] / "docs" / page / "budget.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) points? \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    assert len(rows) >= 3
    for limit, *sizes in rows:
        share = int(limit) / 100
        found = [fewest_items_to_certify(share, 0.95), *(items_to_certify(1, 1, n, share, 0.95) for n in (200, 100))]
        assert [int(size.replace(",", "")) for size in sizes] == found


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
