"""Subspaces for a report: roughly the leading one, and how much two have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from retain.linalg.eigenspace import GUARD, descending, random_block

POWER_ITERATIONS = 4


def leading_subspace(weight: Tensor, moment: Tensor, r: int, *, seed: int = 0) -> Tensor:
    """About the r leading directions of weight · moment · weightᵀ (m, m) for a positive moment: (m, r), orthonormal.

    By four power iterations on a random block, in float32: cheap, and close enough for a report on how two sets
    compare; not for anything that is trained.

    Args:
        weight: W (m, n).
        moment: C (n, n), positive semidefinite.
        r: how many, 1 … m.
        seed: of the random block.
    """
    W, C = weight.float(), moment.to(weight.device).float()
    block = random_block(len(W), min(r + GUARD, len(W)), seed, W.device).float()
    for _ in range(POWER_ITERATIONS):
        block = torch.linalg.qr(W @ (C @ (W.T @ block))).Q
    values, mix = descending(block.T @ (W @ (C @ (W.T @ block))))
    return block @ mix[:, :r].to(values.dtype)


def subspace_overlap(left: Tensor, right: Tensor) -> float:
    """‖leftᵀ right‖_F² / min(r₁, r₂): 1 where one space holds the other, 0 where they are orthogonal.

    Args:
        left: (m, r₁), orthonormal columns, any floating dtype.
        right: (m, r₂), likewise.

    Raises:
        ValueError: the spaces are not of one m, or one has no vector.
    """
    if left.ndim != 2 or right.ndim != 2 or len(left) != len(right) or 0 in (left.shape[1], right.shape[1]):
        raise ValueError(
            f"(m, r₁) and (m, r₂) with one m and r ≥ 1 expected, got {tuple(left.shape)} and {tuple(right.shape)}."
        )
    shared = left.to(torch.float64).T @ right.to(right.device, torch.float64)
    return min(1.0, float(shared.square().sum()) / min(shared.shape))
