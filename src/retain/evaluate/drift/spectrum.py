"""Singular values and vectors of one weight matrix and its update, as cheaply as a report needs them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from retain.linalg.eigenspace import output_eigenspace
from retain.linalg.lanczos import descending, random_block

EXACT_LIMIT = 128
"""Up to this smaller side σ_max comes from all singular values; above it from Lanczos."""
STEPS = 60
TOLERANCE = 1e-3
TOP = 10
"""Leading left singular vectors of W_eff that are looked at."""
LIKE = 0.5
"""A vector with a smaller |cos| than this to each of W0's is an intruder; arXiv 2410.21228."""
DECOMPOSED_LIMIT = 2048
"""The largest smaller side of a matrix whose singular vectors are all computed."""
_RANK_TOLERANCE = 1e-6
"""Singular values below this share of the largest count as 0."""


class Against(NamedTuple):
    """An update seen against the singular vectors of W0.

    Attributes:
        intruders: how many of the leading left singular vectors of W_eff are like none of W0's.
        of: how many were looked at, at most `TOP`.
        column_leak: ‖(I − P)ΔW‖_F/‖ΔW‖_F with P the projector on the column space of W0; None where the layer is not
            tall (m ≤ n), or did not move.
    """

    intruders: int
    of: int
    column_leak: float | None


def largest_singular_value(matrix: Tensor) -> float:
    """σ_max of a matrix (m, n), to a relative error far below 1e-3.

    Small matrices are decomposed. Above `EXACT_LIMIT`: Golub–Kahan–Lanczos from a fixed random vector with full
    reorthogonalisation, ended where the residual ‖MᵀM v − θ v‖ falls below 1e-3·θ (θ's own relative error is then of
    the order of the residual's square), or after 60 steps. It never exceeds σ_max.

    Args:
        matrix: (m, n), any floating dtype; computed in at least float32.
    """
    M = matrix if matrix.dtype == torch.float64 else matrix.float()
    if min(M.shape) <= EXACT_LIMIT:
        return float(torch.linalg.svdvals(M)[0])
    M = M if M.shape[0] >= M.shape[1] else M.T
    scale = M.abs().max()
    return float(scale) * _lanczos(M / scale) if scale else 0.0


def _lanczos(M: Tensor) -> float:
    """The square root of the largest Ritz value of MᵀM; M (m, n) scaled so that nothing over- or underflows."""
    q = random_block(M.shape[1], 1, 0, M.device)[:, 0].to(M)
    basis = (q / q.norm())[None]  # (steps, n)
    diagonal: list[float] = []
    beside: list[float] = []
    largest = 0.0
    for _ in range(STEPS):
        image = M.T @ (M @ basis[-1])
        diagonal.append(float(image @ basis[-1]))
        for _ in range(2):
            image = image - basis.T @ (basis @ image)
        rest = float(image.norm())
        T = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        if beside:
            off = torch.tensor(beside, dtype=torch.float64)
            T += torch.diag(off, 1) + torch.diag(off, -1)
        values, vectors = torch.linalg.eigh(T)
        largest = max(float(values[-1]), 0.0)
        if rest * abs(float(vectors[-1, -1])) <= TOLERANCE * largest or len(basis) == len(q):
            break
        beside.append(rest)
        basis = torch.cat([basis, (image / rest)[None]])
    return math.sqrt(largest)


def left_singular_vectors(matrix: Tensor) -> Tensor:
    """All left singular vectors of a matrix (m, n) that belong to singular values above 0: (m, rank) float64.

    From the eigenvectors of the smaller of M Mᵀ and MᵀM in float64, several times cheaper than a decomposition of M.
    """
    M = matrix.double()
    tall = M.shape[0] > M.shape[1]
    values, vectors = descending(M.T @ M if tall else M @ M.T)
    present = values > _RANK_TOLERANCE**2 * values[0].clamp_min(torch.finfo(torch.float64).tiny)
    if not tall:
        return vectors[:, present]
    return (M @ vectors[:, present]) / values[present].sqrt()


def against_base(weight: Tensor, delta: Tensor) -> Against | None:
    """Intruder dimensions and column-space leak of an update; None where the matrix is too large to decompose.

    Args:
        weight: W0 (m, n), any floating dtype.
        delta: W_eff − W0 (m, n), likewise.
    """
    if min(weight.shape) > DECOMPOSED_LIMIT:
        return None
    U = left_singular_vectors(weight)
    top = min(TOP, *weight.shape)
    W = weight.double() + delta.double()
    leading = output_eigenspace(W, torch.eye(W.shape[1], dtype=W.dtype, device=W.device), top).vectors
    alike = torch.cat([(U.T @ leading).abs(), leading.new_zeros(1, top)]).amax(dim=0)
    size = float(delta.double().norm())
    leak = None
    if weight.shape[0] > weight.shape[1] and size:
        D = delta.double()
        leak = float((D - U @ (U.T @ D)).norm()) / size
    return Against(int((alike < LIKE).sum()), top, leak)
