"""Label metrics against scikit-learn, their intervals against a plain resampling of items."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from retain.errors import InputError
from retain.evaluate.scores.classification import (
    confusion,
    paired_summary_interval,
    table_macro_f1,
    table_matthews,
)
from retain.stats.bootstrap import expanded_tail


def macro_f1(truth, predicted):
    return float(table_macro_f1(confusion(truth, predicted)))


def matthews(truth, predicted):
    return float(table_matthews(confusion(truth, predicted)))


def seeded(seed=0):
    return np.random.default_rng(seed)


def labels(n, k, seed, noise=0.4):
    rng = seeded(seed)
    truth = rng.choice(k, n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    sides = [np.where(rng.random(n) < noise, rng.integers(k, size=n), truth) for _ in range(2)]
    return truth, *sides


def sklearn_f1(truth, predicted):
    return metrics.f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("names", [False, True])
def test_scores_are_those_of_scikit_learn(k, names):
    truth, predicted, _ = labels(80, k, seed=k)
    if names:
        truth, predicted = (np.array([f"label {i}" for i in side]) for side in (truth, predicted))
    assert macro_f1(truth, predicted) == pytest.approx(sklearn_f1(truth, predicted))
    assert macro_f1(truth, predicted) == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    assert matthews(truth, predicted) == pytest.approx(metrics.matthews_corrcoef(truth, predicted))
    np.testing.assert_array_equal(confusion(truth, predicted), metrics.confusion_matrix(truth, predicted))


def test_a_label_that_the_truth_does_not_know_costs_recall_only():
    truth, predicted = np.array(["a", "a", "b", "b"]), np.array(["a", "none", "b", "b"])
    # a: TP 1, FN 1: F1 = 2/3. b: 1. Two labels in the mean, not three.
    assert macro_f1(truth, predicted) == pytest.approx(5 / 6)
    assert macro_f1(truth, predicted) == pytest.approx(sklearn_f1(truth, predicted))
    assert matthews(truth, predicted) == pytest.approx(metrics.matthews_corrcoef(truth, predicted))


def test_one_label_throughout_has_no_correlation():
    assert matthews(np.array([0, 1, 1]), np.array([1, 1, 1])) == 0
    assert matthews(np.array([1, 1]), np.array([1, 1])) == 0


@pytest.mark.parametrize(("table", "score"), [(table_macro_f1, macro_f1), (table_matthews, matthews)])
def test_the_interval_is_that_of_resampled_items(table, score):
    truth, base, tuned = labels(150, 3, seed=5)
    rng = seeded(9)
    rows = [rng.integers(150, size=150) for _ in range(3000)]
    samples = [score(truth[r], tuned[r]) - score(truth[r], base[r]) for r in rows]
    tail = expanded_tail(int((base != tuned).sum()))
    expected = np.quantile(samples, (tail, 1 - tail))
    found = paired_summary_interval(table, truth, base, tuned, seeded())
    assert found == pytest.approx(tuple(expected), abs=0.015)
    assert found == paired_summary_interval(table, truth, base, tuned, seeded())


def test_the_interval_in_parts_is_as_wide_as_in_one(monkeypatch):
    truth, base, tuned = labels(60, 4, seed=6)
    whole = paired_summary_interval(table_matthews, truth, base, tuned, seeded())
    monkeypatch.setattr("retain.evaluate.scores.classification.CHUNK_DRAWS", 1000)
    assert paired_summary_interval(table_matthews, truth, base, tuned, seeded()) == pytest.approx(whole, abs=1e-12)


def test_nothing_changed_is_as_wide_as_for_the_accuracy():
    """A bootstrap of no change has no width; that fifty items did not change leaves room for seven in a hundred."""
    truth, base, _ = labels(50, 3, seed=7)
    reach = 1 - 0.025 ** (1 / 50)
    found = paired_summary_interval(table_macro_f1, truth, base, base, seeded())
    assert found == pytest.approx((-reach, reach))


def test_what_cannot_be_scored_is_refused():
    one = np.array([1])
    with pytest.raises(InputError, match="at least two"):
        paired_summary_interval(table_matthews, one, one, one, seeded())
    with pytest.raises(ValueError, match="one length"):
        macro_f1(np.array([1, 2]), one)
    with pytest.raises(ValueError, match="at least one item"):
        matthews(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="of one kind"):
        macro_f1(np.array(["1"]), one)
