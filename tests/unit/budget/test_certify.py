"""Certificates, what they say to people, and the walk along the scaling path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retain.budget.certify import CLIP_FACTOR, ControlLosses, certify, fixed_sequence, nats_losses, sentence
from retain.errors import InputError
from retain.records.metrics_table import ACCURACY, KL_DIVERGENCE


def items(lost, gained, n, limit=0.02):
    losses = np.repeat([1.0, -1.0, 0.0], [lost, gained, n - lost - gained])
    return ControlLosses("capitals", ACCURACY, "points", limit, losses, right_or_wrong=True)


def test_kept_and_not_kept_follow_from_p_and_bound():
    for lost in (0, 4, 5, 7, 13):
        found = certify(items(lost, 2, 500), 0.95)
        assert found.kept == (found.p_value <= 0.05) == (found.bound <= 0.02)
        assert found.observed == pytest.approx((lost - 2) / 500)
        assert found.bound >= found.observed
        assert found.items_needed is None if found.kept or found.observed >= 0.02 else found.items_needed > 500


def test_the_exact_test_needs_fewer_items_than_the_other():
    exact = items(2, 2, 380)
    other = replace(exact, right_or_wrong=False)
    assert certify(exact, 0.95).bound < certify(other, 0.95).bound
    assert certify(exact, 0.95).method != certify(other, 0.95).method


def test_sentences():
    kept = sentence(certify(items(1, 3, 600), 0.95))
    assert kept.startswith("capitals: at most ")
    assert "points lost (95% confidence, 600 control items; limit 2): kept." in kept
    few = sentence(certify(items(0, 0, 40), 0.95))
    assert "with 40 items not even a model that lost nothing could be certified; give at least" in few
    near = sentence(certify(items(4, 0, 400), 0.95))
    assert "could not be shown: observed 1, bound " in near
    assert "items would settle it" in near
    assert "more of the same kind would not help" in sentence(certify(items(12, 0, 400), 0.95))


def test_a_bound_is_never_rounded_down_to_look_better():
    found = replace(certify(items(1, 3, 600), 0.95), bound=0.01521)
    assert "at most 1.6 points" in sentence(found)


@pytest.mark.parametrize("n", [10, 100_000])
def test_a_limit_of_zero_is_not_shown_by_losing_nothing(n):
    found = certify(items(0, 0, n, limit=0.0), 0.95)
    assert (found.p_value, found.kept, found.items_needed) == (1.0, False, None)
    assert "no number of items shows a loss of exactly 0" in sentence(found)
    nats = certify(nats_losses("KL", KL_DIVERGENCE, 0.0, np.zeros(min(n, 100))), 0.95)
    assert (nats.p_value, nats.kept) == (1.0, False)
    assert "only the base itself" in sentence(nats)


def test_a_clear_gain_keeps_a_limit_of_zero():
    assert certify(items(1, 30, 400, limit=0.0), 0.95).kept


def test_nats_are_cut_and_counted():
    rng = np.random.default_rng(0)
    losses = np.append(rng.lognormal(-5, 1, 300), [1.0, 2.0])
    evidence = nats_losses("KL", KL_DIVERGENCE, 0.05, losses)
    assert (evidence.clipped, evidence.largest, evidence.smallest) == ((losses > 0.25).sum(), 0.05 * CLIP_FACTOR, 0.0)
    assert evidence.losses.max() == 0.25
    found = certify(evidence, 0.95)
    assert found.kept
    assert found.clipped == evidence.clipped >= 2
    assert "nats lost" in sentence(found)
    assert "of the losses cut" in sentence(found)


def test_what_is_cut_off_is_not_hidden():
    losses = np.append(np.zeros(180), np.full(20, 3.0))
    found = certify(nats_losses("text", KL_DIVERGENCE, 0.1, losses, signed=True), 0.95)
    assert not found.kept, "the loss observed is three times the limit, though little of it is left once it is cut"
    assert found.observed == pytest.approx(0.3)
    assert found.bound >= 0.3
    assert found.items_needed is None


def test_a_signed_loss_is_cut_at_both_ends():
    evidence = nats_losses("cross-entropy", KL_DIVERGENCE, 0.1, np.array([-3.0, -0.2, 0.2, 3.0]), signed=True)
    np.testing.assert_array_equal(evidence.losses, [-0.5, -0.2, 0.2, 0.5])
    assert evidence.clipped == 2
    rounding = nats_losses("KL", KL_DIVERGENCE, 0.1, np.array([-1e-9, 0.0]))
    assert rounding.clipped == 0
    assert rounding.losses.min() == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limit": -0.1}, "limit"),
        ({"limit": 1.0}, "limit"),
        ({"losses": np.array([])}, "give control items"),
        ({"losses": np.array([0.0, np.nan])}, "1 of 2 losses are not finite"),
        ({"losses": np.array([0.5])}, "-1, 0 or 1"),
        ({"losses": np.array([3.0])}, "between -1 and 1"),
    ],
)
def test_evidence_that_cannot_be_meant_is_refused(change, said):
    with pytest.raises(InputError, match="capitals") as caught:
        replace(items(0, 0, 10), **change)
    assert said in str(caught.value)


def test_nan_and_confidence_are_refused():
    with pytest.raises(InputError, match="not finite"):
        nats_losses("KL", KL_DIVERGENCE, 0.1, np.array([np.nan, 0.1]))
    for wrong in (0.3, 1.0, 95.0):
        with pytest.raises(InputError, match="confidence"):
            certify(items(0, 0, 10), wrong)


def step(marks):
    """Certificates of one step: + where the limit is kept."""
    base = certify(items(0, 0, 10), 0.95)
    return [replace(base, name=f"s{k}", kept=mark == "+") for k, mark in enumerate(marks)]


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        ([], 0),
        ([step("-")], 0),
        ([step("+"), step("+")], 2),
        ([step("+"), step("-"), step("+")], 1),
        ([step("++"), step("+-"), step("++")], 1),
        ([step("-+"), step("++")], 0),
    ],
)
def test_the_first_failure_ends_the_walk(steps, count):
    assert fixed_sequence(steps) == count


@pytest.mark.parametrize("steps", [[[]], [step("+"), step("++")], [step("+"), []]])
def test_every_step_is_judged_by_the_same_limits(steps):
    with pytest.raises(ValueError, match="same limits"):
        fixed_sequence(steps)
