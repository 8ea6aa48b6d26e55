"""The approximate leading subspace, and the overlap of two, against exact ones."""

import pytest
import torch

from retain.linalg.eigenspace import output_eigenspace
from retain.linalg.subspaces import leading_subspace, subspace_overlap


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotated(values, seed):
    Q = torch.linalg.qr(randn(len(values), len(values), seed=seed)).Q
    return (Q * values) @ Q.T


def test_overlap_of_known_spaces():
    axes = torch.eye(5)
    assert subspace_overlap(axes[:, :2], axes[:, :4]) == 1
    assert subspace_overlap(axes[:, :2], axes[:, 2:]) == 0
    assert subspace_overlap(axes[:, :2], axes[:, 1:3]) == 0.5
    tilted = torch.tensor([[0.6], [0.8], [0], [0], [0]])
    assert subspace_overlap(tilted, axes[:, :1]) == pytest.approx(0.36)


@pytest.mark.parametrize("shape", [(48, 48), (96, 32), (32, 96)])
def test_the_rough_leading_subspace_is_close_to_the_exact_one(shape):
    m, n = shape
    W = randn(m, n, seed=1)
    C = rotated(0.8 ** torch.arange(n, dtype=torch.float64), seed=2)
    rough = leading_subspace(lambda v: W.float() @ (C.float() @ (W.float().T @ v)), m, 8, device=W.device)
    assert rough.shape == (m, 8)
    torch.testing.assert_close(rough.T @ rough, torch.eye(8), rtol=0, atol=1e-5)
    assert subspace_overlap(rough, output_eigenspace(W, C, 8).vectors) > 0.95


@pytest.mark.parametrize(("right", "said"), [(torch.eye(4), r"\(3, 3\) and \(4, 4\)"), (torch.eye(3)[:, :0], "r ≥ 1")])
def test_spaces_that_cannot_be_compared_are_refused(right, said):
    with pytest.raises(ValueError, match=said):
        subspace_overlap(torch.eye(3), right)
