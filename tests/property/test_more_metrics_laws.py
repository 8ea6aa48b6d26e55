"""What must hold for any words, labels, probabilities, scores and features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retain.evaluate.scores.calibration_error import brier, ece, nll, reliability_bins
from retain.evaluate.scores.classification import confusion, table_macro_f1, table_matthews
from retain.evaluate.scores.features import cosine_drift, linear_cka, reciprocal_ranks, relative_l2
from retain.evaluate.scores.shift import corruption_error, style_gap
from retain.evaluate.scores.text import contains, rouge_l, words
from retain.stats.continual import backward_transfer, forgetting

quick = settings(max_examples=40, deadline=None, derandomize=True)

text = st.text(alphabet="abc dé. 5,巴ไ'\u0301")


def macro_f1(truth, predicted):
    return float(table_macro_f1(confusion(truth, predicted)))


def matthews(truth, predicted):
    return float(table_matthews(confusion(truth, predicted)))


@st.composite
def label_pairs(draw):
    n = draw(st.integers(1, 40))
    return tuple(draw(arrays.arrays(int, n, elements=st.integers(0, 4))) for _ in range(2))


@st.composite
def predictions(draw):
    """Probabilities (n, k) and truth (n,)."""
    n, k = draw(st.integers(1, 60)), draw(st.integers(2, 5))
    raw = draw(arrays.arrays(int, (n, k), elements=st.integers(0, 6)))
    raw = raw + (raw.sum(axis=1, keepdims=True) == 0)
    return raw / raw.sum(axis=1, keepdims=True), draw(arrays.arrays(int, n, elements=st.integers(0, k - 1)))


@st.composite
def feature_pairs(draw):
    """Features of n tokens under two models, drawn normally."""
    n, d, e = (draw(st.integers(low, 12)) for low in (3, 2, 2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    return tuple(torch.randn(n, width, generator=generator, dtype=torch.float64) for width in (d, e))


@quick
@given(text, text)
def test_rouge_is_a_share_and_has_no_sides(one, other):
    assert 0 <= rouge_l(one, other) <= 1
    assert rouge_l(one, other) == pytest.approx(rouge_l(other, one))
    assert rouge_l(one, one) == (1 if words(one) else 0)


@quick
@given(text, st.sampled_from(["Paris", "naïve", "巴黎", "5", "New York"]), text)
def test_an_answer_between_other_words_is_found(before, answer, after):
    assert contains(f"{before} | {answer} | {after}", answer)
    assert not contains(f"x{answer}x", answer) or answer == "巴黎"


@quick
@given(label_pairs(), st.permutations(range(5)))
def test_the_names_of_labels_mean_nothing(pair, names):
    renamed = [np.array([f"n{names[label]}" for label in side]) for side in pair]
    assert macro_f1(*renamed) == pytest.approx(macro_f1(*pair))
    assert matthews(*renamed) == pytest.approx(matthews(*pair))


@quick
@given(label_pairs())
def test_label_scores_keep_their_bounds(pair):
    truth, predicted = pair
    assert 0 <= macro_f1(truth, predicted) <= 1
    assert macro_f1(truth, truth) == 1
    assert -1 - 1e-9 <= matthews(truth, predicted) <= 1 + 1e-9
    assert matthews(truth, predicted) == pytest.approx(matthews(predicted, truth))
    assert matthews(truth, truth) == pytest.approx(1 if len(set(truth)) > 1 else 0)


@quick
@given(predictions(), st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_change_calibration(data, random):
    p, y = data
    order = list(range(len(y)))
    random.shuffle(order)
    for metric in (ece, brier, nll):
        assert metric(p[order], y[order]) == pytest.approx(metric(p, y), abs=1e-9)


@quick
@given(predictions())
def test_calibration_keeps_its_bounds(data):
    p, y = data
    assert 0 <= ece(p, y) <= 1
    assert 0 <= brier(p, y) <= 2 + 1e-9
    assert nll(p, y) >= 0
    bins = reliability_bins(p, y)
    assert sum(part.n for part in bins) == len(y)
    assert sum(part.n * part.accuracy for part in bins) == pytest.approx((p.argmax(axis=1) == y).sum())
    confidences = [part.confidence for part in bins]
    assert confidences == sorted(confidences)
    # One bin: the distance of the two means, and no finer bins can be nearer.
    whole = abs((p.argmax(axis=1) == y).mean() - p.max(axis=1).mean())
    assert ece(p, y, bins=1) == pytest.approx(whole)
    assert ece(p, y) >= whole - 1e-9


@quick
@given(arrays.arrays(bool, 20), arrays.arrays(bool, 20))
def test_robustness_turned_round(base, tuned):
    assume(not base.all() and not tuned.all())
    assert corruption_error(base, tuned) * corruption_error(tuned, base) == pytest.approx(1)
    assert style_gap(base, tuned) == -style_gap(tuned, base)


@quick
@given(arrays.arrays(float, (4, 3), elements=st.floats(0, 1)))
def test_forgetting_is_at_least_what_was_lost_since_learning(matrix):
    assert forgetting(matrix) >= -backward_transfer(matrix) - 1e-12
    assert forgetting(matrix, include_base=True) >= forgetting(matrix)


@quick
@given(feature_pairs())
def test_cka_is_a_share_and_has_no_sides(pair):
    X, Y = pair
    assert 0 <= linear_cka(X, Y) <= 1
    assert linear_cka(X, Y) == pytest.approx(linear_cka(Y, X), abs=1e-9)


@quick
@given(feature_pairs(), st.floats(1e-3, 1e3), st.floats(-50, 50))
def test_cka_sees_no_rotation_scale_or_shift(pair, scale, shift):
    X, Y = pair
    rotation = torch.linalg.qr(torch.randn(X.shape[1], X.shape[1], generator=torch.Generator().manual_seed(1)).double())
    assert linear_cka(X, scale * X @ rotation.Q + shift) == pytest.approx(1, abs=1e-7)
    assert linear_cka(scale * X @ rotation.Q + shift, Y) == pytest.approx(linear_cka(X, Y), abs=1e-7)


@quick
@given(feature_pairs(), st.floats(0.01, 100))
def test_directions_have_no_length(pair, scale):
    X = pair[0]
    moved = X + 0.5 * X.flip(0)
    assume(float(moved.norm(dim=1).min()) > 1e-6)
    assert cosine_drift(X, scale * moved) == pytest.approx(cosine_drift(X, moved), abs=1e-9)
    assert 0 <= cosine_drift(X, moved) <= 2
    assert relative_l2(scale * X, scale * moved) == pytest.approx(relative_l2(X, moved))
    assert (reciprocal_ranks(X, scale * X) == 1).all()
