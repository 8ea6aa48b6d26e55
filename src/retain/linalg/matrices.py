"""Symmetric matrices as their upper triangle, and products of thin factors cut to a smaller rank."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 96
"""Symmetric matrices are worked on in blocks of this many rows, or in 8 blocks: smaller ones are slow."""


def blocks(size: int) -> Iterator[slice]:
    """The rows of a symmetric matrix, block by block."""
    rows = max(ROWS, math.ceil(size / 8))
    return (slice(start, min(start + rows, size)) for start in range(0, size, rows))


def mirrored(matrix: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The symmetric matrix (n, n) that has this one's upper triangle; a new tensor, in `dtype` where given.

    Block by block, since a large matrix is transposed seven times as fast in pieces that stay in the cache.
    """
    return _mirror(matrix.to(dtype or matrix.dtype, copy=True))


def _mirror(matrix: Tensor) -> Tensor:
    for start in range(0, len(matrix), ROWS):
        rows = matrix[start : start + ROWS]
        square = rows[:, start : start + ROWS]
        square.copy_(square.triu() + square.triu(1).T)
        matrix[start + ROWS :, start : start + ROWS] = rows[:, start + ROWS :].T
    return matrix


def add_gram(gram: Tensor, x: Tensor) -> None:
    """Add xᵀ x to the upper triangle of gram (n, n), in place, from x (T, n): little more than half of the product."""
    for rows in blocks(len(gram)):
        gram[rows, rows.start :].addmm_(x[:, rows].T, x[:, rows.start :])


def congruent(upper: Tensor, matrix: Tensor) -> Tensor:
    """U S Uᵀ (n, n), symmetric, of an upper triangular U and a symmetric S: half of the products that it takes whole.

    Args:
        upper: U (n, n); what is below its diagonal must be 0.
        matrix: S (n, n).
    """
    product, found = torch.empty_like(matrix), torch.empty_like(matrix)
    for rows in blocks(len(upper)):
        torch.mm(upper[rows, rows.start :], matrix[rows.start :], out=product[rows])
    for rows in blocks(len(upper)):
        torch.mm(product[: rows.stop, rows.start :], upper[rows, rows.start :].T, out=found[: rows.stop, rows])
    return _mirror(found)


def thin(matrix: Tensor, block: Tensor) -> Tensor:
    """M v (m, k) of M (m, n), in either layout, and a block v (n, k) of a few columns.

    By its transpose, vᵀ Mᵀ: BLAS takes up to five times as long for M v itself, where M is a transpose.
    """
    rows: Tensor = block.T.contiguous() @ matrix.T
    return rows.T


def pack_symmetric(matrix: Tensor) -> Tensor:
    """The upper triangle, row by row: (n, n) to (n(n+1)/2,), dtype and device kept.

    Raises:
        ValueError: the matrix is not square.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"a square matrix expected, got shape {tuple(matrix.shape)}.")
    rows, columns = torch.triu_indices(*matrix.shape, device=matrix.device)
    return matrix[rows, columns]


def unpack_symmetric(packed: Tensor) -> Tensor:
    """The symmetric matrix of which pack_symmetric gave the upper triangle: (n(n+1)/2,) to (n, n).

    Raises:
        ValueError: the length is no n(n+1)/2.
    """
    size = (math.isqrt(8 * packed.numel() + 1) - 1) // 2
    if packed.ndim != 1 or size * (size + 1) // 2 != packed.numel():
        raise ValueError(f"a vector of n(n+1)/2 values expected, got shape {tuple(packed.shape)}.")
    rows, columns = torch.triu_indices(size, size, device=packed.device)
    matrix = packed.new_empty(size, size)
    matrix[rows, columns] = packed
    matrix[columns, rows] = packed
    return matrix


def truncated(B: Tensor, A: Tensor, r: int) -> tuple[Tensor, Tensor, float, float]:
    """The best approximation of rank r to B A, its singular values split evenly, and the norms of error and product.

    The product is never formed: thin QR of both factors, and an SVD of the k × k middle.

    Args:
        B: (m, k) float64.
        A: (k, n) float64.
        r: the rank; where it is at least k, nothing is lost.

    Returns:
        B' (m, r') and A' (r', n) with r' = min(r, k), ‖B A − B' A'‖_F, and ‖B A‖_F.
    """
    if r >= A.shape[0]:
        return B, A, 0.0, float(torch.linalg.norm(torch.linalg.qr(B).R @ torch.linalg.qr(A.T).R.T))
    B, A, S = ordered(B, A)
    return B[:, :r], A[:r], float(S[r:].norm()), float(S.norm())


def ordered(B: Tensor, A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same product B A with its singular directions in falling order, so that its first r are the best of rank r.

    Args:
        B: (m, k) float64.
        A: (k, n) float64.

    Returns:
        B' (m, l) and A' (l, n), the singular values split evenly, and these (l,), l ≤ min(k, m, n).
    """
    Qb, Rb = torch.linalg.qr(B)
    Qa, Ra = torch.linalg.qr(A.T)
    U, S, Vh = torch.linalg.svd(Rb @ Ra.T, full_matrices=False)
    root = S.sqrt()
    return Qb @ (U * root), (root[:, None] * Vh) @ Qa.T, S
