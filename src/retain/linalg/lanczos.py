"""Block Lanczos with thick restart: a few eigenvectors of largest signed value of a symmetric, indefinite matrix.

Needs products with thin blocks only. Everything is orthogonalised against everything, in float64.

Why not scipy.sparse.linalg.eigsh: it starts from one vector, in whose Krylov space a multiple eigenvalue occurs once.
Of a weight of low rank, whose output moments have the eigenvalue 0 many times, it gave negative eigenvalues in place of
zeros, without an error. On a CPU it took .3 to 15 times as long as this, by the spectrum; on a GPU it does not run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

GUARD = 8
STEPS = 8
RESTARTS = 20
RESIDUAL_TOLERANCE = 1e-3
CHANGE_TOLERANCE = 1e-6
_RANK_TOLERANCE = 1e-12
EPSILON = torch.finfo(torch.float64).eps

Operator = Callable[[Tensor], Tensor]
"""v ↦ M v, (m, k) to (m, k), for a symmetric M (m, m) and any k."""


class _Krylov(NamedTuple):
    """A search space: orthonormal basis V (m, p), images M V (m, p), and the next block (m, k), orthonormal, off V."""

    basis: Tensor
    images: Tensor
    block: Tensor


def checked(product: Tensor) -> Tensor:
    """The product itself.

    Raises:
        ValueError: it holds values that are not finite.
    """
    if not torch.isfinite(product).all():
        raise ValueError("a product with the matrix is not finite. Try to scale down what the matrix is made of.")
    return product


def random_block(rows: int, columns: int, seed: int, device: torch.device) -> Tensor:
    """Normal numbers (rows, columns) float64, drawn on the CPU so that all devices begin alike."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64).to(device)


def start_block(size: int, r: int, seed: int, start: Operator | None, device: torch.device) -> Tensor:
    """(size, min(r + GUARD, size)) orthonormal, within the range of start as far as that goes."""
    width = min(r + GUARD, size)
    drawn = random_block(size, width, seed, device)
    moved = drawn if start is None else checked(start(drawn))
    block = _orthonormal(moved, drawn[:, :0], _RANK_TOLERANCE * float(moved.norm()))
    missing = width - block.shape[1]
    if missing:
        rest = off(random_block(size, missing, seed + 1, device), block)
        block = torch.cat([block, rest], dim=1)
    return block


def off(drawn: Tensor, basis: Tensor) -> Tensor:
    """Orthonormal directions (m, k) off an orthonormal basis (m, p) with p + k ≤ m, from generic ones (m, k)."""
    once: Tensor = torch.linalg.qr(drawn - basis @ (basis.T @ drawn)).Q
    twice: Tensor = torch.linalg.qr(once - basis @ (basis.T @ once)).Q
    return twice


def _orthonormal(block: Tensor, basis: Tensor, smallest: float) -> Tensor:
    """An orthonormal basis (m, ≤ k) of what block (m, k) has off the basis, directions up to `smallest` dropped."""
    block = block - basis @ (basis.T @ block)
    Q, R = torch.linalg.qr(block)
    left, sizes, _ = torch.linalg.svd(R)
    kept = Q @ left[:, : int((sizes > smallest).sum())]
    again: Tensor = torch.linalg.qr(kept - basis @ (basis.T @ kept)).Q
    return again


def descending(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (n,) and eigenvectors (n, n) of the symmetric part, largest signed value first."""
    values, vectors = torch.linalg.eigh(checked(matrix + matrix.T) / 2)
    return values.flip(0), vectors.flip(1)


def lanczos(operator: Operator, size: int, r: int, block: Tensor) -> tuple[Tensor, float] | None:
    """The eigenvectors (size, r) and about ‖M‖₂, from an orthonormal start block (size, ≥ r); None without convergence.

    Each cycle grows the space by STEPS blocks, each made orthogonal to all before in two passes, then keeps the best
    r + GUARD Ritz vectors and the GUARD most negative ones. Those hold the outliers that would otherwise dominate the
    products again, cycle after cycle.
    """
    space = _Krylov(block[:, :0], block[:, :0], block)
    before = math.inf
    for _ in range(RESTARTS):
        space = _grown(operator, space, min(size, space.basis.shape[1] + STEPS * block.shape[1]))
        values, mix = descending(space.basis.T @ space.images)
        norm = float(values.abs().max())
        top, best = values[:r], space.basis @ mix[:, :r]
        scale = max(float(top.abs().sum()), math.sqrt(EPSILON) * norm)
        change = abs(float(top.sum()) - before)
        residual = relative(space.images @ mix[:, :r] - best * top, top, norm)
        exhausted = not space.block.shape[1]
        if residual <= RESIDUAL_TOLERANCE and (change <= CHANGE_TOLERANCE * scale or exhausted):
            return best, norm
        if exhausted:
            return None
        before = float(top.sum())
        keep = torch.cat([mix[:, : block.shape[1]], mix[:, block.shape[1] :][:, -GUARD:]], dim=1)
        space = _Krylov(space.basis @ keep, space.images @ keep, space.block)
    return None


def _grown(operator: Operator, space: _Krylov, limit: int) -> _Krylov:
    """The space with blocks M·(last block) added until it has `limit` columns or is invariant under M."""
    basis, images, block = space
    while block.shape[1] and basis.shape[1] < limit:
        image = operator(block)
        basis, images = torch.cat([basis, block], dim=1), torch.cat([images, image], dim=1)
        smallest = _RANK_TOLERANCE * float(images.norm(dim=0).max())
        block = _orthonormal(image, basis, smallest)[:, : basis.shape[0] - basis.shape[1]]
    return _Krylov(basis, images, block)


def relative(residual: Tensor, values: Tensor, norm: float) -> float:
    """‖residual‖_F over max(‖values‖, √ε·norm); 0 for no matrix at all."""
    scale = max(float(values.norm()), math.sqrt(EPSILON) * norm)
    return float(residual.norm()) / scale if scale > 0 else 0.0
