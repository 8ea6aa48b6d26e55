"""The subspace of largest reward, against numpy's eigenvalues of the matrix formed in full."""

from functools import cache

import numpy as np
import pytest
import torch

from retain.linalg import eigenspace, lanczos
from retain.linalg.eigenspace import DENSE_LIMIT, Outputs, output_eigenspace, top_eigenspace
from retain.linalg.subspaces import subspace_overlap

OUTLIER = 1e5
SHAPES = [(64, 64), (256, 256), (600, 600), (700, 300), (300, 700)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


@cache
def rotation(n, seed):
    return torch.linalg.qr(randn(n, n, seed=seed)).Q


def rotated(values, seed):
    Q = rotation(len(values), seed)
    return (Q * values) @ Q.T


def moments(n, beta, seed=0):
    """(1 − β) C₊ − β C₋, neighbouring eigenvalues 1 % apart, one direction of C₋ at 10⁵ times the median."""
    values = 1.01 ** -torch.arange(n, dtype=torch.float64)
    kept = values.clone()
    kept[0] = OUTLIER * values.median()
    return (1 - beta) * rotated(values, seed + 1) - beta * rotated(kept, seed + 2)


def formed(W, C):
    return W.double() @ C.double() @ W.double().T


def assert_best(found, M, r):
    """Orthonormal, described rightly, and within 10⁻⁴ of the optimum's own size."""
    Q, values = found.vectors, found.values
    M = M.double()
    assert Q.shape == (len(M), r)
    assert Q.dtype == values.dtype == torch.float64
    assert (Q.T @ Q - torch.eye(r)).abs().max() <= 1e-10
    assert (values.diff() <= 0).all()
    assert (Q.gather(0, Q.abs().argmax(0, keepdim=True)) > 0).all()
    spectrum = np.linalg.eigvalsh(((M + M.T) / 2).numpy())
    best = spectrum[::-1][:r]
    tiny = 1e-11 * np.abs(spectrum).max() + 1e-300
    reward = torch.einsum("ir,ij,jr->", Q, M, Q).item()
    assert best.sum() - reward <= 1e-4 * np.abs(best).sum() + tiny
    assert reward - best.sum() <= 1e-9 * np.abs(best).sum() + tiny
    assert values.sum().item() == pytest.approx(reward, rel=1e-9, abs=tiny)
    residual = (M @ Q - Q * values).norm().item()
    assert residual <= 2e-3 * values.norm().item() + tiny * r


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(48, 48), (200, 90), (90, 200), (600, 200), (600, 600)])
def test_eigh_reaches_the_optimum(shape, beta):
    W, C = randn(*shape), moments(shape[1], beta)
    found = output_eigenspace(W, C, 16)
    assert found.method == "eigh"
    assert_best(found, formed(W, C), 16)
    assert found.residual < 1e-6


@pytest.mark.parametrize("r", [4, 16, 32])
@pytest.mark.parametrize("beta", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("shape", SHAPES)
def test_lanczos_reaches_the_optimum(shape, beta, r):
    W, C = randn(*shape), moments(shape[1], beta)
    found = output_eigenspace(W, C, r, dense_limit=32)
    assert_best(found, formed(W, C), r)
    assert found.residual <= lanczos.RESIDUAL_TOLERANCE


@pytest.mark.parametrize("shape", SHAPES)
def test_lanczos_converges_by_itself_on_the_usual_mixture(shape):
    assert output_eigenspace(randn(*shape), moments(shape[1], 0.5), 16, dense_limit=32).method == "lanczos"


@pytest.mark.parametrize("r", [4, 16, 32])
def test_an_outlier_in_both_moments_is_met(r):
    both = rotated(torch.tensor([OUTLIER] + [1.01**-i for i in range(255)], dtype=torch.float64), 5)
    W, C = randn(256, 256), 0.5 * both - 0.5 * moments(256, 0.0)
    assert_best(output_eigenspace(W, C, r, dense_limit=32), formed(W, C), r)


@pytest.mark.parametrize("dense_limit", [32, DENSE_LIMIT])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_weights_of_any_dtype_are_computed_with_in_float64(dtype, dense_limit):
    W, C = randn(96, 64).to(dtype), moments(64, 0.5).float()
    found = output_eigenspace(W.requires_grad_(), C, 8, dense_limit=dense_limit)
    assert_best(found, formed(W.detach(), C), 8)
    assert not found.vectors.requires_grad


@pytest.mark.parametrize("dense_limit", [32, DENSE_LIMIT])
@pytest.mark.parametrize("shape", [(120, 120), (200, 80), (80, 200)])
def test_equal_seeds_give_equal_bits(shape, dense_limit):
    W, C = randn(*shape), moments(shape[1], 0.7)
    first, second = (output_eigenspace(W, C, 8, seed=3, dense_limit=dense_limit) for _ in range(2))
    torch.manual_seed(17)
    third = output_eigenspace(W, C, 8, seed=3, dense_limit=dense_limit)
    for other in (second, third):
        assert torch.equal(first.vectors, other.vectors)
        assert torch.equal(first.values, other.values)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    output_eigenspace(randn(120, 60), moments(60, 1.0), 8, dense_limit=32)
    assert torch.equal(before, torch.get_rng_state())


def test_lanczos_and_eigh_find_one_space():
    W, C = randn(300, 300), rotated(torch.cat([torch.full((8,), 5.0), -torch.rand(292)]).double(), 3)
    iterated, eigh = (output_eigenspace(torch.linalg.qr(W).Q, C, 8, dense_limit=limit) for limit in (32, DENSE_LIMIT))
    assert (iterated.method, eigh.method) == ("lanczos", "eigh")
    assert subspace_overlap(iterated.vectors, eigh.vectors) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dense_limit", [32, DENSE_LIMIT])
def test_the_complement_comes_before_negative_directions(dense_limit):
    W, C = randn(120, 50), moments(50, 1.0)
    found = output_eigenspace(W, C, 16, dense_limit=dense_limit)
    assert (W.T @ found.vectors).abs().max() <= 1e-10
    assert found.values.abs().max() <= 1e-10
    assert_best(found, formed(W, C), 16)


@pytest.mark.parametrize("dense_limit", [32, DENSE_LIMIT])
def test_positive_then_complement_then_negative(dense_limit):
    W, C = randn(64, 50), rotated(torch.cat([torch.ones(3), -torch.linspace(1, 2, 47)]).double(), 1)
    found = output_eigenspace(W, C, 30, dense_limit=dense_limit)
    inside = (torch.linalg.qr(W).Q.T @ found.vectors).norm(dim=0)
    assert (found.values[:3] > 0.1).all()
    assert found.values[3:17].abs().max() <= 1e-10
    assert inside[3:17].max() <= 1e-10
    assert (found.values[17:] < -1e-3).all()
    assert_best(found, formed(W, C), 30)


@pytest.mark.parametrize("dense_limit", [32, DENSE_LIMIT])
@pytest.mark.parametrize("rank", [0, 1, 5, 30])
@pytest.mark.parametrize("shape", [(100, 60), (60, 100), (60, 60)])
@pytest.mark.parametrize("beta", [0.0, 0.6, 1.0])
def test_a_weight_of_low_rank_is_no_trouble(shape, rank, beta, dense_limit):
    W = randn(shape[0], rank, seed=1) @ randn(rank, shape[1], seed=2)
    C = moments(shape[1], beta)
    assert_best(output_eigenspace(W, C, 12, dense_limit=dense_limit), formed(W, C), 12)


@pytest.mark.parametrize("dense_limit", [1, DENSE_LIMIT])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (40, 3), (3, 40), (40, 40), (60, 36), (36, 60)])
def test_every_rank_up_to_the_largest(shape, dense_limit):
    W, C = randn(*shape), moments(shape[1], 0.6)
    for r in {1, min(shape), shape[0]}:
        assert_best(output_eigenspace(W, C, r, dense_limit=dense_limit), formed(W, C), r)


@pytest.mark.parametrize("dense_limit", [1, DENSE_LIMIT])
@pytest.mark.parametrize("shape", [(40, 40), (60, 36), (36, 60)])
def test_no_moment_at_all(shape, dense_limit):
    found = output_eigenspace(randn(*shape), torch.zeros(shape[1], shape[1]), 4, dense_limit=dense_limit)
    assert found.residual == 0
    assert found.values.tolist() == [0] * 4
    assert_best(found, torch.zeros(shape[0], shape[0]), 4)


def test_only_the_symmetric_part_counts():
    W, C, odd = randn(30, 30), moments(30, 0.5), randn(30, 30, seed=4)
    plain, skewed = output_eigenspace(W, C, 4), output_eigenspace(W, C + odd - odd.T, 4)
    assert subspace_overlap(plain.vectors, skewed.vectors) == pytest.approx(1)


@pytest.mark.parametrize(("restarts", "steps"), [(0, 8), (1, 1), (2, 1)])
@pytest.mark.parametrize("shape", [(300, 300), (400, 200), (200, 400)])
def test_without_convergence_eigh_answers(monkeypatch, shape, restarts, steps):
    monkeypatch.setattr(lanczos, "RESTARTS", restarts)
    monkeypatch.setattr(lanczos, "STEPS", steps)
    W, C = randn(*shape), moments(shape[1], 0.8)
    found = output_eigenspace(W, C, 8, dense_limit=32)
    assert found.method == "eigh"
    assert_best(found, formed(W, C), 8)


def test_without_convergence_an_operator_is_formed(monkeypatch):
    monkeypatch.setattr(lanczos, "RESTARTS", 1)
    M = moments(150, 0.8)
    found = top_eigenspace(lambda v: M @ v, 150, 8)
    assert found.method == "eigh"
    assert_best(found, M, 8)


@pytest.mark.parametrize("size", [1, 5, 40, 200])
@pytest.mark.parametrize("beta", [0.0, 0.8, 1.0])
def test_an_operator_is_enough(size, beta):
    M = moments(size, beta)
    for r in {1, min(4, size), min(32, size)}:
        assert_best(top_eigenspace(lambda v: M @ v, size, r, device="cpu"), M, r)


def test_a_start_saves_products():
    inside = randn(400, 30)
    M = inside @ moments(30, 0.5) @ inside.T
    blocks = []

    def operator(v):
        blocks.append(v)
        return M @ v

    plain = top_eigenspace(operator, 400, 4)
    without = len(blocks)
    started = top_eigenspace(operator, 400, 4, start=lambda v: inside @ (inside.T @ v))
    assert len(blocks) - without < without
    for found in (plain, started):
        assert_best(found, M, 4)


def test_a_multiple_eigenvalue_is_found_as_often_as_it_occurs():
    M = rotated(torch.cat([torch.full((6,), 2.0), torch.ones(50), -torch.ones(144)]).double(), 2)
    assert top_eigenspace(lambda v: M @ v, 200, 10).values.tolist() == pytest.approx([2] * 6 + [1] * 4)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: output_eigenspace(randn(4, 9), torch.eye(9), 5), "5 eigenvectors .* 4 rows.* Try"),
        (lambda: output_eigenspace(randn(4, 9), torch.eye(9), 0), "0 eigenvectors"),
        (lambda: top_eigenspace(lambda v: v, 3, 4), "4 eigenvectors .* 3 rows"),
        (lambda: output_eigenspace(randn(4, 9), torch.eye(4), 2), r"\(4, 9\) and \(4, 4\)"),
        (lambda: output_eigenspace(randn(9), torch.eye(9), 2), r"\(9,\)"),
        (lambda: output_eigenspace(torch.zeros(3, 0), torch.zeros(0, 0), 2), r"\(3, 0\)"),
        (lambda: output_eigenspace(torch.full((4, 4), torch.nan), torch.eye(4), 2), "not finite"),
        (lambda: output_eigenspace(torch.eye(4), torch.diag(torch.tensor([1, 1, 1, torch.inf])), 2), "not finite"),
        (lambda: output_eigenspace(1e200 * randn(9, 9), torch.eye(9), 2), "not finite"),
        (lambda: output_eigenspace(1e200 * randn(40, 40), torch.eye(40), 2, dense_limit=8), "not finite"),
        (lambda: output_eigenspace(1e200 * randn(60, 40), torch.eye(40), 2, dense_limit=8), "not finite"),
        (lambda: output_eigenspace(1e200 * randn(60, 40), torch.eye(40), 2), "not finite"),
        (lambda: top_eigenspace(lambda v: v / 0, 30, 4), "not finite"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def tall(kind):
    """W (70, 30): well-conditioned, nearly singular, of less than full rank, and nothing at all."""
    W = randn(70, 30, seed=4)
    if kind == "nearly singular":
        W[:, -1] = W[:, 0] + 1e-9 * W[:, 1]
    if kind == "of rank 20":
        W = randn(70, 20, seed=4) @ randn(20, 30, seed=5)
    return 0 * W if kind == "zero" else W


@pytest.mark.parametrize("kind", ["well-conditioned", "nearly singular", "of rank 20", "zero"])
def test_the_outputs_of_a_tall_layer_by_fewer_coordinates(kind):
    W, C, other = tall(kind), moments(30, 0.6), moments(30, 0.0)
    outputs = Outputs(W)
    M = outputs.moment(C)
    assert M.shape == (30, 30)
    scale = 1e-10 * formed(W, C).abs().max().item() + 1e-300
    assert M.trace().item() == pytest.approx(formed(W, C).trace().item(), rel=1e-9, abs=scale)
    found = outputs.top(M, 8, seed=1)
    assert_best(found, formed(W, C), 8)
    whole = formed(W, other)
    assert outputs.trace(other) == pytest.approx(whole.trace().item(), rel=1e-6)
    z = torch.eye(30)
    values = torch.linalg.eigvalsh(outputs.rough_operator(other)(z).double())[-8:]
    expected = torch.linalg.eigvalsh(whole)[-8:]
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5 * whole.abs().max().item())


def test_the_formed_moments_of_a_wide_layer_are_solved_by_lanczos_where_they_are_large(monkeypatch):
    monkeypatch.setattr(eigenspace, "DENSE_LIMIT", 40)
    W, C = randn(90, 120), moments(120, 0.5)
    outputs = Outputs(W)
    found = outputs.top(outputs.moment(C), 8)
    assert found.method == "lanczos"
    assert_best(found, formed(W, C), 8)
