"""What must hold for any weight and any symmetric moment."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.linalg.eigenspace import output_eigenspace
from retain.linalg.matrices import pack_symmetric, unpack_symmetric
from retain.linalg.subspaces import subspace_overlap

quick = settings(max_examples=30, deadline=None, derandomize=True)
limits = st.sampled_from([2, 2048])


@st.composite
def problems(draw):
    """Weight (m, n), indefinite moment (n, n) and a rank up to m."""
    m, n = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    W = torch.randn(m, n, generator=generator, dtype=torch.float64)
    Q = orthogonal(n, draw(st.integers(0, 2**31)))
    values = torch.randn(n, generator=generator, dtype=torch.float64) + draw(st.floats(-3, 3))
    return W, (Q * values) @ Q.T, draw(st.integers(1, m))


def orthogonal(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q


def reward(Q, W, C):
    return torch.trace(Q.T @ W @ C @ W.T @ Q).item()


def size(W, C):
    return torch.linalg.matrix_norm(W @ C @ W.T).item()


@quick
@given(problems(), limits, st.integers(0, 2**31))
def test_no_random_subspace_has_more_reward(problem, limit, seed):
    W, C, r = problem
    best = reward(output_eigenspace(W, C, r, dense_limit=limit).vectors, W, C)
    assert reward(orthogonal(len(W), seed)[:, :r], W, C) <= best + 1e-6 * size(W, C)


@quick
@given(problems(), limits)
def test_no_subspace_of_coordinates_has_more_reward(problem, limit):
    W, C, r = problem
    best = reward(output_eigenspace(W, C, r, dense_limit=limit).vectors, W, C)
    coordinates = torch.diagonal(W @ C @ W.T).sort(descending=True).values[:r].sum().item()
    assert coordinates <= best + 1e-6 * size(W, C)


@quick
@given(problems(), limits, st.integers(0, 2**31))
def test_the_basis_of_the_inputs_means_nothing(problem, limit, seed):
    W, C, r = problem
    turn = orthogonal(W.shape[1], seed)
    plain, turned = output_eigenspace(W, C, r), output_eigenspace(W @ turn, turn.T @ C @ turn, r, dense_limit=limit)
    assert (plain.values - turned.values).abs().sum().item() == pytest.approx(0, abs=1e-4 * size(W, C))


@quick
@given(problems(), limits, st.floats(1e-6, 1e6))
def test_eigenvalues_scale_with_the_moment(problem, limit, factor):
    W, C, r = problem
    plain = output_eigenspace(W, C, r, dense_limit=limit)
    scaled = output_eigenspace(W, factor * C, r, dense_limit=limit)
    torch.testing.assert_close(scaled.values, factor * plain.values, rtol=1e-4, atol=1e-4 * factor * size(W, C))


@quick
@given(problems(), limits)
def test_what_is_found_is_orthonormal_and_finite(problem, limit):
    W, C, r = problem
    Q = output_eigenspace(W, C, r, dense_limit=limit).vectors
    assert (Q.T @ Q - torch.eye(r)).abs().max() <= 1e-10
    assert torch.isfinite(Q).all()


@quick
@given(st.integers(1, 30), st.data())
def test_an_overlap_is_a_share_and_has_no_sides(m, data):
    left, right = (orthogonal(m, data.draw(st.integers(0, 2**31)))[:, : data.draw(st.integers(1, m))] for _ in range(2))
    assert 0 <= subspace_overlap(left, right) <= 1
    assert subspace_overlap(left, right) == pytest.approx(subspace_overlap(right, left), abs=1e-12)
    assert subspace_overlap(left, left) == pytest.approx(1)
    assert subspace_overlap(left, -left.flip(1)) == pytest.approx(1)


@quick
@given(st.integers(0, 30), st.integers(0, 2**31))
def test_packing_loses_nothing(n, seed):
    matrix = torch.randn(n, n, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(unpack_symmetric(pack_symmetric(matrix + matrix.T)), matrix + matrix.T)
