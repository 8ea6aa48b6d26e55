"""Zones of an update against numpy: the four blocks sum to the whole, and each is where it was put."""

import numpy as np
import pytest
import torch

from retain.evaluate.drift.zones import leading_directions, zones


def drawn(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (10, 10), (1, 6)])
def test_the_blocks_sum_to_the_update_and_their_squares_to_its_square(shape):
    W, D = drawn(shape, 1), drawn(shape, 2)
    U, s, Vt = np.linalg.svd(W)  # all directions, those that W does not reach included
    k = next(k for k in range(1, len(s) + 1) if s[:k].sum() >= s.sum() / 2)
    P, Q = U[:, :k] @ U[:, :k].T, Vt[:k].T @ Vt[:k]
    left, right = np.eye(shape[0]) - P, np.eye(shape[1]) - Q
    blocks = [P @ D @ Q, P @ D @ right, left @ D @ Q, left @ D @ right]
    assert np.allclose(sum(blocks), D)
    found = zones(torch.from_numpy(W), torch.from_numpy(D))
    shares = [float((block**2).sum() / (D**2).sum()) for block in blocks]
    assert [found.leading, found.outputs, found.inputs, found.rest] == pytest.approx(shares, abs=1e-12)
    assert sum(found[2:6]) == pytest.approx(1.0, abs=1e-12)
    assert (found.k, found.of) == (k, min(shape))


@pytest.mark.parametrize(("place", "field"), [(0, "leading"), (5, "rest")])
def test_a_change_along_one_pair_of_directions_lies_in_its_zone(place, field):
    W = drawn((9, 6), 3)
    U, _, Vt = np.linalg.svd(W, full_matrices=False)
    found = zones(torch.from_numpy(W), torch.from_numpy(np.outer(U[:, place], Vt[place])))
    assert getattr(found, field) == pytest.approx(1.0, abs=1e-12)


def test_a_change_without_direction_has_the_random_share_in_the_mean():
    W = drawn((30, 20), 4)
    found = [zones(torch.from_numpy(W), torch.from_numpy(drawn((30, 20), seed))) for seed in range(10, 60)]
    assert np.mean([one.leading for one in found]) == pytest.approx(found[0].random, rel=0.1)


def test_half_of_the_sum_is_reached_by_the_fewest_directions():
    assert leading_directions(torch.tensor([4.0, 2.0, 1.0, 1.0])) == 1
    assert leading_directions(torch.tensor([3.9, 2.1, 1.0, 1.0])) == 2
    assert leading_directions(torch.ones(8)) == 4


@pytest.mark.parametrize(
    ("weight", "delta"), [(torch.ones(3, 3), torch.zeros(3, 3)), (torch.zeros(3, 3), torch.ones(3, 3))]
)
def test_nothing_is_said_of_a_layer_that_did_not_move_or_has_no_directions(weight, delta):
    assert zones(weight, delta) is None
