"""Features against scikit-learn, scipy and definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.neighbors import KNeighborsClassifier

from retain.evaluate.scores import features
from retain.evaluate.scores.features import (
    cosine_drift,
    linear_cka,
    neighbours_right,
    reciprocal_ranks,
    relative_l2,
    retrieval_right,
)
from retain.hf.models.features import mean_pool


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[2**22, 50])
def chunked(request, monkeypatch):
    """In one piece, and a few rows at a time."""
    monkeypatch.setattr(features, "CHUNK_ELEMENTS", request.param)


def test_mean_pool_takes_each_sequences_own_tokens():
    hidden = normal(3, 4, 5)
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]])
    spoilt = hidden.masked_fill(mask.unsqueeze(-1) == 0, float("nan"))
    expected = torch.stack([hidden[0].mean(0), hidden[1, 1:3].mean(0), hidden[2, 3]])
    torch.testing.assert_close(mean_pool(spoilt, mask), expected)
    half = mean_pool(hidden.bfloat16(), mask.bool())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, atol=0.02, rtol=0.02)
    with pytest.raises(ValueError, match="without a token"):
        mean_pool(hidden, mask.clone().index_fill_(0, torch.tensor(1), 0))
    with pytest.raises(ValueError, match="mask"):
        mean_pool(hidden, mask[:, :3])


@pytest.mark.usefixtures("chunked")
def test_ranks_against_scikit_learn():
    queries = normal(40, 6)
    matches = queries + 0.9 * normal(40, 6, seed=1)
    near = -cdist(queries.numpy(), matches.numpy(), "cosine")
    expected = label_ranking_average_precision_score(np.eye(40), near)
    assert reciprocal_ranks(queries, matches).mean().item() == pytest.approx(expected)
    right = retrieval_right(queries, matches)
    assert right.tolist() == (near.argmax(axis=1) == np.arange(40)).tolist()
    assert 0 < right.sum() < 40


def test_a_model_that_maps_all_to_one_place_finds_nothing():
    same = torch.ones(5, 3)
    assert not retrieval_right(same, 2 * same).any()
    assert reciprocal_ranks(same, same).tolist() == [0.2] * 5


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize(("k", "classes"), [(1, 4), (5, 2), (7, 2)])
def test_neighbours_against_scikit_learn(k, classes):
    labels = torch.arange(60) % classes
    centres = normal(classes, 5, seed=2)
    bank, queries = (centres[labels] + 1.2 * normal(60, 5, seed=s) for s in (3, 4))
    names = torch.tensor([7, -2, 30, 11])[labels]
    oracle = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(bank.double().numpy(), names.numpy())
    expected = oracle.predict(queries.double().numpy()) == names.numpy()
    assert neighbours_right(bank, names, queries, names, k).tolist() == expected.tolist()
    assert 0 < expected.sum() < 60


def test_ties_between_labels_go_to_the_nearest_and_between_neighbours_to_the_first():
    bank = torch.tensor([[0.0, 1.0], [1.0, 0.2], [1.0, 0.5], [1.0, 0.5]])
    labels = torch.tensor([5, 8, 3, 9])
    query = torch.tensor([[1.0, 0.0]])
    assert neighbours_right(bank, labels, query, torch.tensor([8]), 4).all()
    residuals = torch.tensor([[1.0, 0.5]])
    assert neighbours_right(bank, labels, residuals, torch.tensor([3]), 1).all()
    # Two votes for 4 outweigh the nearest.
    assert neighbours_right(bank, torch.tensor([4, 8, 4, 9]), query, torch.tensor([4]), 4).all()


def by_definition(X, Y):
    """CKA = HSIC(K, L)/√(HSIC(K, K)·HSIC(L, L)) with K = XXᵀ, L = YYᵀ, HSIC ∝ tr(KHLH)."""
    n = len(X)
    H = np.eye(n) - 1 / n
    K, L = X @ X.T, Y @ Y.T
    hsic = [np.trace(A @ H @ B @ H) for A, B in ((K, L), (K, K), (L, L))]
    return hsic[0] / np.sqrt(hsic[1] * hsic[2])


@pytest.mark.parametrize(("n", "d", "e"), [(30, 4, 6), (8, 20, 12), (10, 4, 30)])
def test_cka_against_its_definition(n, d, e):
    X = normal(n, d) + 3
    Y = normal(n, e, seed=1)
    Y[:, :2] += 2 * X[:, :2]
    expected = by_definition(X.double().numpy(), Y.double().numpy())
    assert linear_cka(X, Y) == pytest.approx(expected, abs=1e-9)


def test_constant_features_have_no_alignment():
    assert linear_cka(torch.full((6, 3), 0.1), normal(6, 3)) is None
    assert linear_cka(normal(6, 3), torch.zeros(6, 2)) is None


def test_drift_by_scipy_and_by_hand():
    X, Y = normal(20, 7), normal(20, 7, seed=1)
    assert cosine_drift(X, Y) == pytest.approx(np.diagonal(cdist(X.numpy(), Y.numpy(), "cosine")).mean(), abs=1e-6)
    assert cosine_drift(X, X) == 0
    assert cosine_drift(X, -X) == pytest.approx(2)
    assert relative_l2(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[3.0, 9.0], [0.0, 1.5]])) == 0.75
    assert relative_l2(X.bfloat16(), X.bfloat16()) == 0


@pytest.mark.parametrize("function", [retrieval_right, reciprocal_ranks, cosine_drift, relative_l2])
def test_what_is_not_paired_or_has_no_direction_is_refused(function):
    with pytest.raises(ValueError, match="one shape"):
        function(normal(3, 2), normal(4, 2))
    with pytest.raises(ValueError, match="no direction"):
        function(torch.zeros(3, 2), normal(3, 2))


def test_neighbours_that_cannot_be_asked():
    bank, labels = normal(4, 3), torch.arange(4)
    with pytest.raises(ValueError, match="from 1 to the 4 items"):
        neighbours_right(bank, labels, bank, labels, 5)
    with pytest.raises(ValueError, match="expected"):
        neighbours_right(bank, labels[:3], bank, labels, 1)
    with pytest.raises(ValueError, match="expected"):
        linear_cka(bank, bank[:3])
