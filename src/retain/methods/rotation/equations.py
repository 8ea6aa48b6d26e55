"""Rotation of the input features: x → xR with R orthogonal, as SODA's input rotation (arXiv 2405.21050).

A frozen linear layer y = W0 x + b, W0 (m, n), is given the input x + T(x) with T(x) = xR − x, for a row x (n,). Its
effective weight is W0 Rᵀ, which has the singular values and the column space of W0; the bias is untouched. ‖xR‖ = ‖x‖.
R is built of small orthogonal matrices Q in one of two forms:

* block-diagonal, R = diag(Q₁, …, Q_k), each Q (b, b), k·b = n;
* Kronecker, R = Q₁ ⊗ Q₂ ⊗ …, Qᵢ (nᵢ, nᵢ), ∏nᵢ = n.

Each Q = (I − K)(I + K)⁻¹ is the Cayley transform of a skew-symmetric K, K = 0 before training. It reaches every
rotation without the eigenvalue −1.

Where we differ from SODA: Q is parametrised by K and trained with any optimiser, where SODA steps along the Stiefel
manifold; no singular value is moved; the adapter begins as the identity. Everything is computed from D = Q − I, and
T(x) is never the difference of two large numbers, so small rotations keep their digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def skew(values: Tensor, size: int) -> Tensor:
    """K = U − Uᵀ with U strictly upper triangular, its entries given row by row.

    Args:
        values: (k·size(size − 1)/2,).
        size: b, 2 or more.

    Returns:
        (k, size, size).
    """
    rows, columns = torch.triu_indices(size, size, 1, device=values.device)
    upper = values.new_zeros(values.numel() // len(rows), size, size)
    upper[:, rows, columns] = values.view(-1, len(rows))
    return upper - upper.mT


def cayley(K: Tensor) -> Tensor:
    """D = Q − I of Q = (I − K)(I + K)⁻¹, computed as −2(I + K)⁻¹K, which is 0 where K is.

    I + K is always invertible: the eigenvalues of a skew-symmetric K are imaginary.

    Args:
        K: (..., s, s), skew-symmetric.

    Returns:
        (..., s, s), in K's dtype; 16 bits are solved in float32. Autocast is without effect.
    """
    with torch.autocast(K.device.type, enabled=False):
        wide = K if K.dtype == torch.float64 else K.float()
        identity = torch.eye(K.shape[-1], dtype=wide.dtype, device=K.device)
        solved: Tensor = torch.linalg.solve(identity + wide, -2 * wide)
    return solved.to(K.dtype)


def block_shift(x: Tensor, D: Tensor) -> Tensor:
    """T(x) = xR − x for R = diag(I + D₁, …, I + D_k): n·b operations a row.

    Args:
        x: (..., n).
        D: Q − I (k, b, b) with k·b = n, in the dtype of x.

    Returns:
        (..., n).
    """
    blocks = x.reshape(*x.shape[:-1], *D.shape[:2])
    return torch.einsum("...kb,kbc->...kc", blocks, D).flatten(-2)


def kronecker_shift(x: Tensor, D: Sequence[Tensor]) -> Tensor:
    """T(x) = xR − x for R = (I + D₁) ⊗ (I + D₂) ⊗ …, by mode products: n·Σnᵢ operations a row, where xR takes n².

    With t₁ = x·D₁ along the first mode and tᵢ = (x + t₁ + … + tᵢ₋₁)·Dᵢ along mode i, T(x) is Σtᵢ.

    Args:
        x: (..., n).
        D: the Qᵢ − I (nᵢ, nᵢ) with ∏nᵢ = n, at least one, in the dtype of x.

    Returns:
        (..., n).
    """
    inner = x.shape[-1] // len(D[0])
    total = _mode_product(x, D[0], inner)
    for part in D[1:]:
        inner //= len(part)
        total = total + _mode_product(x + total, part, inner)
    return total


def _mode_product(x: Tensor, D: Tensor, inner: int) -> Tensor:
    """The product of x (..., outer·s·inner) with D (s, s) along the dimension s."""
    if inner == 1:
        return (x.reshape(-1, len(D)) @ D).view(x.shape)
    return (D.mT @ x.reshape(-1, len(D), inner)).view(x.shape)


def block_size(width: int, largest: int) -> int:
    """The size of the blocks of a layer: the largest divisor of its width that is at most `largest`."""
    return next(size for size in range(min(width, largest), 0, -1) if width % size == 0)


def kronecker_sizes(width: int, count: int) -> tuple[int, ...]:
    """The sizes of Kronecker factors: of all products of `count` numbers that give the width, the one of least sum.

    The sum is what a row costs. Of equal sums the one with the largest least factor is taken: 640 = 8·8·10. Ones are
    left out, so a prime width has a single factor.
    """
    best = min(_products(width, count, 1), key=lambda sizes: (sum(sizes), tuple(-size for size in sizes)))
    return tuple(size for size in best if size > 1) or (1,)


def _products(width: int, count: int, least: int) -> list[tuple[int, ...]]:
    """All ascending tuples of `count` numbers, none below `least`, whose product is the width; never none of them."""
    if count == 1:
        return [(width,)] if width >= least else []
    first = [size for size in range(least, round(width ** (1 / count)) + 1) if width % size == 0]
    return [(size, *rest) for size in first for rest in _products(width // size, count - 1, size)]


def numbers_of(sizes: Sequence[int]) -> int:
    """How many numbers define a skew-symmetric matrix of each size, together."""
    return sum(math.comb(size, 2) for size in sizes)
