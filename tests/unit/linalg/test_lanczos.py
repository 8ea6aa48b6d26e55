"""Block Lanczos against dense eigenvalues: indefinite, multiple and few-directional matrices."""

import numpy as np
import pytest
import torch

from retain.linalg.lanczos import checked, descending, lanczos, off, random_block, start_block

CPU = torch.device("cpu")


def symmetric(values, seed=0):
    basis = torch.linalg.qr(
        torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(seed)).double()
    ).Q
    return basis @ torch.diag(torch.as_tensor(values, dtype=torch.float64)) @ basis.T


@pytest.mark.parametrize(
    "values",
    [np.linspace(-3, 5, 80), [4.0] * 3 + [1.0] * 40 + [-50.0] * 37, [7.0, 2.0] + [0.0] * 60 + [-9.0] * 18],
    ids=["spread", "multiple", "low rank"],
)
def test_the_largest_signed_values_are_found(values):
    M, r = symmetric(values), 5
    found = lanczos(M.matmul, len(values), r, start_block(len(values), r, 0, None, CPU))
    assert found is not None
    vectors, norm = found
    best = np.sort(values)[::-1][:r]
    np.testing.assert_allclose(torch.einsum("ir,ij,jr->r", vectors, M, vectors).numpy(), best, atol=1e-4)
    assert norm == pytest.approx(np.abs(values).max(), rel=1e-3)


def test_a_start_block_is_orthonormal_and_lies_in_the_range_of_its_start():
    plane = torch.linalg.qr(random_block(30, 4, 1, CPU)).Q
    block = start_block(30, 2, 0, lambda v: plane @ (plane.T @ v), CPU)
    assert block.shape == (30, 10)
    torch.testing.assert_close(block.T @ block, torch.eye(10, dtype=torch.float64))
    torch.testing.assert_close(plane @ (plane.T @ block[:, :4]), block[:, :4])


def test_directions_off_a_basis_are_orthonormal_to_it():
    basis = torch.linalg.qr(random_block(20, 5, 0, CPU)).Q
    others = off(random_block(20, 3, 1, CPU), basis)
    torch.testing.assert_close(others.T @ others, torch.eye(3, dtype=torch.float64))
    assert (basis.T @ others).abs().max() < 1e-12


def test_eigenvalues_come_in_falling_order_and_products_must_be_finite():
    values, vectors = descending(torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64))
    assert values.tolist() == [3.0, 1.0]
    assert vectors[:, 0].abs().tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="not finite"):
        checked(torch.tensor([1.0, float("nan")]))
