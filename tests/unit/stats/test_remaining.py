"""What is left of what a model knew: exact figures by hand and by scipy, and how often "gone" is said wrongly."""

import numpy as np
import pytest
from scipy import stats

from retain.stats.remaining import (
    Remaining,
    fewest_groups_to_show_gone,
    fewest_to_show_gone,
    items_to_decide,
    power_to_show_gone,
)


def alone(known, left, n=None, chance=0.0):
    """Single items, of n the first `known` right before, of these the first `left` after."""
    n = known if n is None else n
    place = np.arange(n)
    return Remaining(np.ones(n, int), (place < known).astype(int), (place < left).astype(int), chance)


def test_none_left_of_forty_rules_out_more_than_seven_percent():
    # by hand: 1 − .05^(1/40) = 7.22 %, and the margin of 5 % takes 59 items: 1 − .05^(1/59) = 4.95 %
    assert alone(40, 0).bound(0.05) == pytest.approx(1 - 0.05 ** (1 / 40))
    assert alone(59, 0).bound(0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert alone(59, 0).bound(0.05) < 0.05 < alone(58, 0).bound(0.05)
    assert fewest_to_show_gone(0.05, 0.05) == 59
    assert fewest_to_show_gone(0.10, 0.05) == 29
    assert fewest_to_show_gone(0.05, 0.05 / 3) == 80  # log(.05/3)/log(.95) = 79.8


@pytest.mark.parametrize(("known", "left"), [(40, 10), (59, 0), (200, 3), (7, 7)])
def test_p_values_and_bounds_are_those_of_scipy_where_nothing_can_be_guessed(known, left):
    found = alone(known, left, n=known + 5)
    assert found.p_gone(0.05) == pytest.approx(stats.binomtest(left, known, 0.05, alternative="less").pvalue)
    assert found.p_still(0.05) == pytest.approx(stats.binomtest(left, known, 0.05, alternative="greater").pvalue)
    exact = stats.binomtest(left, known, alternative="less").proportion_ci(0.95, "exact").high
    assert found.bound(0.05) == pytest.approx(exact)
    assert found.share == left / known


def test_guessing_is_taken_off_and_what_the_base_guessed_is_not_counted_as_known():
    # of 400 four-way items 280 are right: 240 known, and of the other 160 a quarter guessed, as they are once more
    assert alone(280, 240 + 10, 400, chance=0.25).share == pytest.approx(1.0)
    assert alone(280, 280, 400, chance=0.25).share == 1.0  # that the guesses are the base's own does not make it more
    luck = alone(280, 70, 400, chance=0.25)  # of the known ones as many as guessing has
    assert luck.share == 0.0
    half = alone(280, 120 + 40, 400, chance=0.25)  # 120 known still, a quarter of the other 160 guessed
    assert half.share == pytest.approx(0.5)
    assert alone(100, 0, 400, chance=0.25).share is None  # the base guesses
    assert alone(100, 0, 400, chance=0.25).bound(0.05) == 1.0


def test_the_bound_and_the_test_say_the_same():
    for found in (alone(90, 4), alone(300, 80, 400, 0.25), grouped(40, 3, left=0.02, seed=3)):
        for alpha in (0.05, 0.0125):
            bound = found.bound(alpha)
            assert found.p_gone(min(bound + 1e-4, 0.999)) <= alpha + 1e-9
            assert bound < 1e-3 or found.p_gone(bound - 1e-3) > alpha


def grouped(groups, size, *, left, seed, within=1.0, chance=0.0):
    """Groups of `size` known items each that stand or fall together with probability `within`."""
    draw = np.random.default_rng(seed)
    together = draw.random(groups) < within
    one = draw.random(groups) < left
    each = draw.binomial(size, left, groups)
    items = np.full(groups, size)
    return Remaining(items, items, np.where(together, one * size, each), chance)


@pytest.mark.parametrize(
    ("known", "margin", "chance", "accuracy"),
    [(59, 0.05, 0.0, 1.0), (120, 0.05, 0.0, 0.6), (300, 0.1, 0.25, 0.7), (400, 0.05, 0.25, 0.95)],
)
def test_a_model_with_just_the_margin_left_is_seldom_called_gone(known, margin, chance, accuracy):
    # 1,500 reports each, the share left exactly the margin: the worst case of the null
    draw = np.random.default_rng(7)
    n = round(known / accuracy)
    wrong = 0
    for _ in range(1500):
        is_known = draw.random(n) < (accuracy - chance) / (1 - chance)
        base = is_known | (draw.random(n) < chance)
        still = is_known & (draw.random(n) < margin)
        tuned = still | (draw.random(n) < chance)
        found = Remaining(np.ones(n, int), base.astype(int), (base & tuned).astype(int), chance)
        wrong += found.p_gone(margin) < 0.05
    assert wrong / 1500 <= 0.0615  # 5 % and two standard errors of 1,500 draws


@pytest.mark.parametrize(("within", "size"), [(1.0, 3), (0.5, 6), (0.0, 2)])
def test_items_that_stand_and_fall_together_do_not_make_it_too_sure(within, size):
    drawn = [grouped(100, size, left=0.1, seed=seed, within=within) for seed in range(400)]
    assert sum(one.p_gone(0.1) < 0.05 for one in drawn) / 400 <= 0.072
    as_single = sum(stats.binom.cdf(one.n_left, 100 * size, 0.1) < 0.05 for one in drawn) / 400
    assert within == 0 or as_single > 0.08  # what the groups are for


def test_power_is_told_in_advance():
    assert power_to_show_gone(58, 0.05, 0.05) == 0.0
    assert power_to_show_gone(59, 0.05, 0.05) == 1.0
    fewest = fewest_to_show_gone(0.1, 0.05, chance=0.25, accuracy=0.9)
    assert power_to_show_gone(fewest, 0.1, 0.05, chance=0.25, accuracy=0.9) >= 0.95
    groups = fewest_groups_to_show_gone(0.05, 0.05)
    items = np.full(groups, 3)
    assert Remaining(items, items, 0 * items).p_gone(0.05) <= 0.05
    assert Remaining(items[1:], items[1:], 0 * items[1:]).p_gone(0.05) > 0.05


def test_the_number_of_items_that_would_settle_it():
    assert items_to_decide(alone(40, 0), 0.05, 0.05) == 59
    assert items_to_decide(alone(40, 0, n=80), 0.05, 0.05) == 118  # half of them known
    needed = items_to_decide(alone(20, 2), 0.05, 0.05)
    assert stats.binom.sf(needed // 10 - 1, needed, 0.05) <= 0.05 < stats.binom.sf(1, 20, 0.05)


@pytest.mark.parametrize(("known", "left", "chance"), [([2], [3], 0.0), ([1], [1], 1.0), ([], [], 0.0)])
def test_counts_that_do_not_fit_are_refused(known, left, chance):
    with pytest.raises(ValueError, match=r"≥|chance"):
        Remaining(np.array(known), np.array(known), np.array(left), chance)
