"""Subspaces for a report: an approximate leading one, and the overlap of two."""

from __future__ import annotations

import torch
from torch import Tensor

from retain.linalg.lanczos import GUARD, Operator, descending, random_block

POWER_ITERATIONS = 4


def leading_subspace(operator: Operator, size: int, r: int, *, seed: int = 0, device: torch.device) -> Tensor:
    """About the r leading directions of a positive semidefinite matrix: (size, r) float32, orthonormal.

    By four power iterations on a random block: cheap, and close enough for a report that compares two sets; not for
    training.

    Args:
        operator: v ↦ M v, (size, k) to (size, k) float32.
        size: of M.
        r: the number of directions, 1 … size.
        seed: of the random block.
        device: where to compute.
    """
    block = random_block(size, min(r + GUARD, size), seed, device).float()
    for _ in range(POWER_ITERATIONS):
        block = torch.linalg.qr(operator(block)).Q
    values, mix = descending(block.T @ operator(block))
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
