"""What must hold for any answers and any logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evidence_samples import ACCURACY, NATS, column, evidence, seeded
from retain.evaluate.drift.summary import drift_summary
from retain.evaluate.held_out import WindowSums
from retain.evaluate.scores.option_choice import pick
from retain.evaluate.scores.rows import keep_row, task_row
from retain.evaluate.scores.text import exact_match
from retain.evaluate.scores.token_distributions import churn, kl, shifted_nll
from retain.records.metric import Metric
from retain.stats.bootstrap import FEW_CHANGED, change_interval, few_changes_interval
from retain.stats.mcnemar import mcnemar_p

quick = settings(max_examples=40, deadline=None, derandomize=True)


ANY = Metric(name="any")


def kept(base, tuned, chance):
    return keep_row(column("s", ACCURACY, base, tuned, chance), seed=0)[1]


def learned(base, tuned, weights):
    return task_row(evidence("t", ANY, base, tuned, weights=weights))


@st.composite
def suites(draw):
    """Right and wrong before and after, 24 to 150 items."""
    n = draw(st.integers(24, 150))
    return tuple(draw(arrays.arrays(bool, n)) for _ in range(2))


@st.composite
def values(draw):
    """A metric before and after, with weights."""
    n = draw(st.integers(2, 40))
    number = st.floats(-100, 100)
    return (
        draw(arrays.arrays(float, n, elements=number)),
        draw(arrays.arrays(float, n, elements=number)),
        draw(arrays.arrays(int, n, elements=st.integers(1, 300))),
    )


logits = arrays.arrays(np.float32, (2, 3, 7), elements=st.floats(-50, 50, width=32))


@quick
@given(suites())
def test_lost_minus_gained_is_base_minus_tuned(sides):
    score = kept(*sides, 0.25)
    assert score.lost - score.gained == pytest.approx(score.base - score.tuned, abs=1e-12)


@quick
@given(suites())
def test_the_interval_holds_what_was_seen(sides):
    score = kept(*sides, 0.25)
    assert -1 <= score.interval[0] <= score.tuned - score.base <= score.interval[1] <= 1
    if score.retention_interval is not None:
        assert score.retention_interval[0] - 1e-9 <= score.retention <= score.retention_interval[1] + 1e-9


@quick
@given(suites())
def test_swapping_the_sides_negates_the_change(sides):
    there, back = kept(*sides, 0.0), kept(*sides[::-1], 0.0)
    assert (there.lost, there.gained, there.p_value) == (back.gained, back.lost, back.p_value)
    # Bootstrap ends are drawn, so they agree to the noise of 10,000 draws; few changes have a closed form.
    noise = 1e-12 if (there.lost + there.gained) * there.n < FEW_CHANGED else 0.05
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=noise)


@quick
@given(suites())
def test_an_unchanged_model_retains_everything(sides):
    score = kept(sides[0], sides[0], 0.1)
    assert (score.lost, score.gained, score.p_value) == (0, 0, 1)
    assert score.interval[0] == -score.interval[1] < 0
    if score.status == "measured":
        assert score.retention == 1


@quick
@given(suites(), st.randoms(use_true_random=False))
def test_the_order_of_items_changes_no_keep_score(sides, random):
    order = list(range(len(sides[0])))
    random.shuffle(order)
    assert kept(*(side[order] for side in sides), 0.25) == kept(*sides, 0.25)


@quick
@given(values(), st.randoms(use_true_random=False))
def test_the_order_of_items_changes_a_task_score_by_rounding_only(data, random):
    base, tuned, weights = data
    order = list(range(len(base)))
    random.shuffle(order)
    before = learned(base, tuned, weights)
    after = learned(base[order], tuned[order], weights[order])
    assert (after.base, after.tuned, *after.interval) == pytest.approx(
        (before.base, before.tuned, *before.interval), rel=1e-9, abs=1e-9
    )


@quick
@given(values())
def test_swapping_the_sides_negates_the_gain(data):
    base, tuned, weights = data
    there = learned(base, tuned, weights)
    back = learned(tuned, base, weights)
    assert there.gain == -back.gain


@quick
@given(values(), st.integers(2, 5))
def test_weights_count_relatively(data, factor):
    base, tuned, weights = data
    assert change_interval(base, tuned, seeded(), factor * weights) == pytest.approx(
        change_interval(base, tuned, seeded(), weights), rel=1e-9, abs=1e-9
    )


@quick
@given(st.integers(24, 2000), st.integers(0, 10), st.integers(0, 9))
def test_more_lost_is_never_better(n, lost, gained):
    less, more = few_changes_interval(lost, gained, n), few_changes_interval(lost + 1, gained, n)
    assert more[0] < less[0]
    assert more[1] < less[1]


@quick
@given(st.integers(0, 400), st.integers(0, 400))
def test_a_p_value_is_a_probability_and_has_no_sides(lost, gained):
    assert 0 <= mcnemar_p(lost, gained) <= 1
    assert mcnemar_p(lost, gained) == mcnemar_p(gained, lost)


@quick
@given(logits, logits)
def test_kl_is_never_negative(base, tuned):
    base, tuned = torch.from_numpy(base), torch.from_numpy(tuned)
    assert (kl(base, tuned) >= 0).all()
    assert (kl(base, base) == 0).all()


@quick
@given(logits, logits, st.floats(-20, 20))
def test_a_shift_of_all_logits_means_nothing(base, tuned, shift):
    base, tuned = torch.from_numpy(base).double(), torch.from_numpy(tuned).double()
    torch.testing.assert_close(kl(base + shift, tuned), kl(base, tuned), atol=1e-9, rtol=1e-9)
    labels = torch.tensor([[0, 1, 2], [3, 4, 5]])
    torch.testing.assert_close(shifted_nll(base + shift, labels)[0], shifted_nll(base, labels)[0], atol=1e-9, rtol=1e-9)


@quick
@given(logits, logits)
def test_churn_has_no_sides(base, tuned):
    base, tuned = torch.from_numpy(base), torch.from_numpy(tuned)
    assert torch.equal(churn(base, tuned), churn(tuned, base))


@quick
@given(values())
def test_a_drift_to_itself_is_zero(data):
    nll, tokens = np.abs(data[0]), data[2]
    none = np.zeros(len(nll))
    sums = WindowSums(nll.tolist(), nll.tolist(), none.tolist(), none.tolist(), tokens.tolist())
    drift = drift_summary(sums, seeded(), evidence("text", NATS, nll / tokens, nll / tokens, weights=tokens))
    assert drift.ce_drift_nats_per_token == drift.kl_nats_per_token == drift.churn == 0
    assert drift.ce_drift_interval == (0, 0)


@quick
@given(st.lists(st.floats(-1e6, 0), min_size=1, max_size=8))
def test_a_pick_is_the_first_best(scores):
    chosen = pick(scores)
    assert scores[chosen] == max(scores)
    assert chosen == scores.index(max(scores))
    assert pick(scores, "token", tokens=[1] * len(scores)) == chosen


@quick
@given(st.text())
def test_every_text_matches_itself_whatever_surrounds_it(text):
    assert exact_match(text, text)
    assert exact_match(f"  {text}\n", text)
