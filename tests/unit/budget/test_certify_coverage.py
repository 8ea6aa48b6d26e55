"""The promise by simulation: how often something is certified that loses more than it may, and how many items it takes.

Confidence is 95 % throughout; every setting is drawn 2,000 times with a seed of its own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from retain.budget.certify import CLIP_FACTOR, ControlLosses, certify, fixed_sequence, nats_losses
from retain.records.metrics_table import ACCURACY, KL_DIVERGENCE
from retain.stats.bounds import BETS, mean_p_value
from retain.stats.net_loss import within_limit

DRAWS = 2000
ERROR = 0.05
kept_items = lru_cache(maxsize=None)(within_limit)


def promise_holds(broken, draws=DRAWS):
    return stats.binomtest(int(broken), draws, ERROR, alternative="greater").pvalue > 0.01


def exact_kept(cells, limit):
    """Whether each draw (draws, 3) of lost, gained and unchanged is certified, (draws,)."""
    return np.array([kept_items(int(lost), int(gained), int(n), limit, 0.95) for lost, gained, n in cells])


def drawn_items(seed, n, loss, churn, draws=DRAWS):
    rates = [(churn + loss) / 2, (churn - loss) / 2, 1 - churn]
    cells = np.random.default_rng(seed).multinomial(n, rates, draws)
    cells[:, 2] = n
    return cells


@pytest.mark.parametrize(
    ("n", "limit", "churn"),
    [(100, 0.05, 0.05), (300, 0.02, 0.02), (300, 0.02, 0.1), (1000, 0.02, 0.05), (60, 0.1, 0.6)],
)
def test_single_items_just_above_the_limit(n, limit, churn):
    loss = limit * 1.0001
    kept = exact_kept(drawn_items(n, n, loss, max(churn, loss)), limit)
    assert promise_holds(kept.sum())


def chance_of_keeping(n, loss, churn, limit):
    """By adding up all outcomes that are likely at all."""
    most = int(n * churn + 6 * np.sqrt(n * churn) + 6)
    lost, gained = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    rates = [(churn + loss) / 2, (churn - loss) / 2, 1 - churn]
    chances = stats.multinomial.pmf(np.stack([lost, gained, n - lost - gained], -1), n, rates)
    likely = chances > 1e-6
    kept = exact_kept(np.stack([lost[likely], gained[likely], np.full(likely.sum(), n)], -1), limit)
    return float(chances[likely] @ kept)


def test_half_the_limit_is_certified_with_little_more_than_the_fewest_items_possible():
    """For nine in ten a test that is told the rate of changes needs `best` items; this one half as many again."""
    limit, loss, churn = 0.02, 0.01, 0.02
    deviations = [np.sqrt(churn - edge**2) for edge in (limit, loss)]
    best = ((stats.norm.ppf(0.95) * deviations[0] + stats.norm.ppf(0.9) * deviations[1]) / (limit - loss)) ** 2
    assert chance_of_keeping(round(1.5 * best), loss, churn, limit) > 0.9
    assert chance_of_keeping(round(best), limit, churn, limit) <= ERROR
    assert chance_of_keeping(round(best), limit, churn, limit) > ERROR / 3


def grouped(seed, groups, mean, draws=DRAWS):
    """Mean losses of groups of five: some fall as a whole, the others here and there. (draws, groups)."""
    rng = np.random.default_rng(seed)
    own = rng.binomial(5, 0.02, (draws, groups)) / 5 - rng.binomial(5, 0.02, (draws, groups)) / 5
    whole = rng.random((draws, groups)) < mean
    return np.where(whole, 1.0, own * (rng.random((draws, groups)) < 0.5))


def betting_kept(losses, limit, smallest, largest):
    """Whether each draw (draws, n) is certified, (draws,): all draws at once, and as `mean_p_value` says of some."""
    gains = (limit - losses) / (largest - limit)
    kept = np.mean([np.exp(np.log1p(bet * gains).sum(axis=1)) for bet in BETS], axis=0) >= 1 / ERROR
    for k in range(0, len(losses), 200):
        assert kept[k] == (mean_p_value(losses[k], limit, smallest, largest) <= ERROR)
    return kept


@pytest.mark.parametrize(("groups", "limit"), [(60, 0.05), (200, 0.05), (200, 0.02)])
def test_groups_just_above_the_limit(groups, limit):
    kept = betting_kept(grouped(groups, groups, limit * 1.0001), limit, -1, 1)
    assert promise_holds(kept.sum())


def test_groups_at_half_the_limit():
    """A test that is told the variance needs 530 groups for nine in ten; this one two and a half times that."""
    kept = betting_kept(grouped(1, 1400, 0.025, 500), 0.05, -1, 1)
    assert kept.mean() > 0.8


def cut_mean(scale, spread, top):
    """E min(X, top) of a log-normal X = scale·exp(spread·Z)."""
    far = np.log(top / scale) / spread
    return scale * np.exp(spread**2 / 2) * stats.norm.cdf(far - spread) + top * stats.norm.sf(far)


def scale_for(mean, spread, top):
    low, high = 1e-9, top
    for _ in range(80):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if cut_mean(middle, spread, top) < mean else (low, middle)
    return high


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("n", [30, 150])
def test_skewed_windows_just_above_the_limit(spread, n):
    limit = 0.05
    scale = scale_for(limit, spread, CLIP_FACTOR * limit)
    drawn = scale * np.exp(spread * np.random.default_rng(n).normal(size=(DRAWS, n)))
    assert promise_holds(betting_kept(np.minimum(drawn, CLIP_FACTOR * limit), limit, 0, CLIP_FACTOR * limit).sum())


def test_skewed_windows_at_half_the_limit():
    limit, spread = 0.05, 1.0
    scale = scale_for(limit / 2, spread, CLIP_FACTOR * limit)
    drawn = scale * np.exp(spread * np.random.default_rng(5).normal(size=(DRAWS, 80)))
    kept = betting_kept(np.minimum(drawn, CLIP_FACTOR * limit), limit, 0, CLIP_FACTOR * limit)
    assert kept.mean() > 0.8
    assert [certify(nats_losses("KL", KL_DIVERGENCE, limit, row), 0.95).kept for row in drawn[:5]] == kept[:5].tolist()


def scaling_draws(seed, true, n, churn):
    """Paired items along a scaling path: the same items at every step. (draws, steps, 3)."""
    rng = np.random.default_rng(seed)
    chosen = rng.random((DRAWS, n), dtype=np.float32)
    cells = []
    for loss in true:
        lost, gained = (churn + loss) / 2, (churn - loss) / 2
        cells.append(np.stack([(chosen < lost).sum(1), (chosen > 1 - gained).sum(1), np.full(DRAWS, n)], -1))
    return np.stack(cells, 1)


def certified(kept):
    """Leading steps kept, (draws,), of (draws, steps)."""
    return np.where(kept.all(axis=1), kept.shape[1], (~kept).argmax(axis=1))


DIALS = {
    "monotone": [0.0, 0.01, 0.02, 0.0301, 0.04, 0.06],
    "not monotone": [0.0, 0.0301, 0.0, 0.02, 0.0301, 0.01],
}


@pytest.mark.parametrize("scaling", DIALS)
def test_a_whole_dial(scaling):
    true, limit = np.array(DIALS[scaling]), 0.03
    cells = scaling_draws(9, true, 800, 0.07)
    kept = np.stack([exact_kept(cells[:, k], limit) for k in range(len(true))], 1)
    steps = certified(kept)
    wrong = [(true[:count] > limit).any() for count in steps]  # any certified step may be chosen
    assert promise_holds(np.sum(wrong))
    assert (steps >= 1).mean() > 0.7  # what loses nothing is mostly certified


def test_two_budgets_along_one_dial():
    """Items and windows at once: one budget is broken from the third step on, the other from the fourth."""
    rng, n, limits = np.random.default_rng(4), 800, (0.03, 0.05)
    items = scaling_draws(11, [0.0, 0.01, 0.0301, 0.05], n, 0.07)
    windows = rng.normal(size=(DRAWS, 60))
    top = CLIP_FACTOR * limits[1]
    kept = []
    for k, mean in enumerate([0.005, 0.02, 0.04, 0.0501]):
        losses = np.minimum(scale_for(mean, 1.0, top) * np.exp(windows), top)
        kept.append(exact_kept(items[:, k], limits[0]) & betting_kept(losses, limits[1], 0, top))
    steps = certified(np.stack(kept, 1))
    assert promise_holds((steps >= 3).sum())
    assert (steps >= 1).mean() > 0.7


def test_the_walk_of_the_simulation_is_that_of_the_package():
    cells = scaling_draws(9, DIALS["monotone"], 800, 0.07)[:2, :4]
    for draw in cells:
        steps = [
            [certify(ControlLosses("s", ACCURACY, "points", 0.03, _losses(*counts), right_or_wrong=True), 0.95)]
            for counts in draw
        ]
        expected = certified(exact_kept(draw, 0.03)[None])[0]
        assert fixed_sequence(steps) == expected


def _losses(lost, gained, n):
    return np.repeat([1.0, -1.0, 0.0], [lost, gained, n - lost - gained])
