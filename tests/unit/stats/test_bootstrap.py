"""Intervals against scipy and statsmodels, by hand at the edge, and their coverage over all outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from retain.errors import InputError
from retain.stats.bootstrap import (
    FEW_CHANGED,
    change_interval,
    clopper_pearson,
    expanded_tail,
    few_changes_interval,
    ratio_intervals,
    right_wrong_interval,
)


def seeded(seed=0):
    return np.random.default_rng(seed)


def scipy_interval(columns, statistic, changed):
    """Percentile bootstrap of rows by scipy, cut at the same percentiles."""
    found = stats.bootstrap(
        columns,
        statistic,
        paired=True,
        method="percentile",
        n_resamples=10_000,
        confidence_level=1 - 2 * expanded_tail(changed),
        rng=seeded(7),
        vectorized=False,
    )
    return tuple(found.confidence_interval)


def test_mean_change_against_scipy():
    rng = seeded(3)
    base = rng.normal(3, 1, 60)
    tuned = base + rng.normal(-0.2, 0.5, 60)
    expected = scipy_interval((base, tuned), lambda b, t: (t - b).mean(), 60)
    assert change_interval(base, tuned, seeded()) == pytest.approx(expected, abs=0.01)


def test_micro_average_against_scipy():
    rng = seeded(4)
    tokens = rng.integers(1, 200, 50)
    base_sum = tokens * rng.normal(3, 0.5, 50)
    tuned_sum = base_sum + tokens * rng.normal(0.1, 0.3, 50)
    expected = scipy_interval((base_sum, tuned_sum, tokens), lambda b, t, w: t.sum() / w.sum() - b.sum() / w.sum(), 50)
    found = change_interval(base_sum / tokens, tuned_sum / tokens, seeded(), tokens)
    assert found == pytest.approx(expected, abs=0.008)


def test_right_or_wrong_against_scipy():
    base = np.repeat([1, 1, 0, 0], [120, 30, 15, 85])
    tuned = np.repeat([1, 0, 1, 0], [120, 30, 15, 85])
    expected = scipy_interval((base, tuned), lambda b, t: t.mean() - b.mean(), 45)
    assert change_interval(base, tuned, seeded()) == pytest.approx(expected, abs=0.005)


def test_percentiles_by_hand():
    # t table: 2.0687 at 23 degrees of freedom, times √(24/23) = 2.1132; the normal tail beyond it is .0173.
    assert expanded_tail(24) == pytest.approx(0.0173, abs=5e-5)
    assert expanded_tail(10**7) == pytest.approx(0.025, abs=1e-6)
    assert expanded_tail(1) == expanded_tail(0) == 0


@pytest.mark.parametrize(("count", "n"), [(0, 24), (3, 24), (24, 24), (100, 249)])
def test_exact_limits_against_statsmodels(count, n):
    assert clopper_pearson(count, n) == pytest.approx(proportion_confint(count, n, method="beta"), abs=1e-9)


def test_nothing_changed_still_has_a_width():
    # Nothing lost among 24: the true loss could be up to 1 − .025^(1/24) = .1425.
    edge = 1 - 0.025 ** (1 / 24)
    assert few_changes_interval(0, 0, 24) == pytest.approx((-edge, edge))
    right = np.ones(24)
    assert change_interval(right, right, seeded()) == pytest.approx((-edge, edge))


def test_few_changes_by_hand():
    # 2 lost, none gained, of 10. Clopper–Pearson: .2 in [.025211, .556095], 0 in [0, .308498].
    # lower = −.2 − √(0² + .356095²), upper = −.2 + √(.308498² + .174789²); ρ = 0 since nothing was gained.
    assert few_changes_interval(2, 0, 10) == pytest.approx((-0.556095, 0.154577), abs=1e-5)


def test_few_changes_that_balance_by_hand():
    # 1 and 1 of 4: limits of ¼ are [.006309, .805880], distances .243691 and .555880, ρ = −¼/¾ = −⅓:
    # reach = √(.243691² + ⅔ · .243691 · .555880 + .555880²) = √.458697 = .67727.
    assert few_changes_interval(1, 1, 4) == pytest.approx((-0.67727, 0.67727), abs=1e-5)


@pytest.mark.parametrize("n", [24, 100, 1000])
def test_zero_leaves_the_interval_when_the_exact_test_speaks(n):
    assert right_wrong_interval(6, 0, n, seeded())[1] < 0
    assert right_wrong_interval(4, 0, n, seeded())[1] > 0


def test_the_rule_does_not_jump_where_it_switches():
    few = few_changes_interval(14, FEW_CHANGED - 14, 249)
    many = right_wrong_interval(14, FEW_CHANGED - 14, 249, seeded())
    assert many == pytest.approx(few, abs=0.006)


def test_equal_seeds_give_equal_intervals():
    base, tuned = seeded(1).random(40), seeded(2).random(40)
    assert change_interval(base, tuned, seeded(5)) == change_interval(base, tuned, seeded(5))
    assert right_wrong_interval(30, 20, 249, seeded(5)) == right_wrong_interval(30, 20, 249, seeded(5))


def test_the_order_of_items_does_not_matter():
    base, tuned, weights = seeded(1).random(40), seeded(2).random(40), seeded(3).integers(1, 9, 40)
    order = seeded(4).permutation(40)
    expected = change_interval(base, tuned, seeded(), weights)
    assert change_interval(base[order], tuned[order], seeded(), weights[order]) == pytest.approx(expected, rel=1e-12)


def test_statistics_share_their_resamples():
    a, tokens = seeded(1).random(30), np.full(30, 7)
    one, same, double = ratio_intervals([a, a, 2 * a], tokens, seeded())
    assert one == same
    assert double == pytest.approx((2 * one[0], 2 * one[1]))


def test_many_items_are_drawn_in_chunks(monkeypatch):
    base, tuned = seeded(1).random(50), seeded(2).random(50)
    expected = change_interval(base, tuned, seeded())
    monkeypatch.setattr("retain.stats.bootstrap.CHUNK_DRAWS", 1000)
    assert change_interval(base, tuned, seeded()) == pytest.approx(expected, rel=1e-12)


def test_one_item_says_nothing():
    with pytest.raises(InputError, match="at least two"):
        change_interval(np.array([0.3]), np.array([0.4]), seeded())


def test_weights_must_be_above_zero():
    with pytest.raises(ValueError, match="above 0"):
        change_interval(np.array([0.3, 0.2]), np.array([0.4, 0.2]), seeded(), np.array([1, 0]))


def exact_coverage(n, churn, losses, intervals):
    """P(interval holds the truth), summed over the outcomes (lost, gained) in `intervals`."""
    lost, gained = churn * losses, churn * (1 - losses)
    outcomes = np.array([(b, c, n - b - c) for b, c in intervals])
    limits = np.array(list(intervals.values()))
    inside = (limits[:, 0] <= gained - lost + 1e-12) & (limits[:, 1] >= gained - lost - 1e-12)
    return float(stats.multinomial.pmf(outcomes, n, [lost, gained, 1 - churn]) @ inside)


@pytest.mark.parametrize("n", [24, 50, 100, 200])
def test_coverage_is_95_percent_for_every_churn_up_to_ten_percent(n):
    most = int(stats.binom.ppf(1 - 1e-4, n, 0.1))
    pairs = [(b, c) for b in range(most + 1) for c in range(most + 1 - b)]
    intervals = {pair: right_wrong_interval(*pair, n, seeded()) for pair in pairs}
    for churn in (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1):
        for losses in (1.0, 0.95, 0.8, 0.5, 0.2, 0.0):
            assert exact_coverage(n, churn, losses, intervals) >= 0.95, (churn, losses)


@pytest.mark.parametrize(("churn", "losses"), [(0.005, 1.0), (0.02, 0.8), (0.1, 1.0), (0.1, 0.5)])
def test_coverage_at_a_thousand_items(churn, losses):
    draws = seeded(11).multinomial(1000, [churn * losses, churn * (1 - losses), 1 - churn], size=3000)
    outcomes, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    limits = np.array([right_wrong_interval(int(b), int(c), 1000, seeded()) for b, c in outcomes])
    truth = churn * (1 - 2 * losses)
    covered = times @ ((limits[:, 0] <= truth + 1e-12) & (limits[:, 1] >= truth - 1e-12)) / 3000
    assert covered >= 0.95 - 2 * 0.004  # two standard errors of 3,000 draws


def test_the_plain_percentile_interval_would_mislead():
    """Why the rule exists: one resample-and-cut interval has no width in most samples of a suite of 24."""
    n, churn = 24, 0.02
    intervals = {
        (b, c): tuple(
            np.quantile(
                seeded().multinomial(n, np.array([b, c, n - b - c]) / n, 2000)[:, :2] @ [-1, 1] / n, [0.025, 0.975]
            )
        )
        for b in range(6)
        for c in range(6 - b)
    }
    assert exact_coverage(n, churn, 1.0, intervals) < 0.5


@pytest.mark.parametrize("windows", [10, 30])
def test_windows_of_unequal_length_are_covered(monkeypatch, windows):
    """Normal changes on windows of 50 to 256 tokens; 12,000 draws gave .940 with 10 windows, .953 with 30.

    Plain percentiles cover 90 % with 10 windows.
    """
    monkeypatch.setattr("retain.stats.bootstrap.RESAMPLES", 2000)
    rng, hits, draws = seeded(5), 0, 1000
    for _ in range(draws):
        tokens = rng.integers(50, 257, windows)
        moved = tokens * 0.1 + np.sqrt(tokens) * rng.normal(0, 1, windows)
        low, high = ratio_intervals([moved], tokens, rng)[0]
        hits += low <= 0.1 <= high
    assert hits / draws >= 0.925  # two standard errors of 1,000 draws below .94
