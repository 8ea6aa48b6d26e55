"""Other ways to choose A0 and B0, each as its paper has it; all begin at W0 and differ in which part of it is trained.

Each function takes W0 (m, n) and r and gives A0 (r, n), B0 (m, r), float64, with s·B0 A0 the part of W0 that its paper
trains, split evenly between the factors.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

DAMPING = 0.01
"""PEFT's CorDA adds this share of the mean diagonal to the moments before it inverts them; so do we."""


def milora(weight: Tensor, r: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """MiLoRA (arXiv 2406.09044): the r smallest singular directions of W0. Needs no data."""
    U, S, Vh = torch.linalg.svd(weight.double(), full_matrices=False)
    return _split(U[:, -r:], S[-r:], Vh[-r:], scale)


def corda_kpm(weight: Tensor, keep: Tensor, r: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """CorDA, knowledge-preserved mode (arXiv 2406.05223): W0 C = U S Vᵀ, W0 = U S (Vᵀ C⁻¹), of which the r smallest.

    Args:
        weight: W0 (m, n).
        keep: C (n, n), second moment of the inputs over the data to keep.
        r: the rank.
        scale: the adapter's s.
    """
    C = _damped(keep)
    U, S, Vh = torch.linalg.svd(weight.double() @ C, full_matrices=False)
    return _split(U[:, -r:], S[-r:], torch.linalg.solve(C, Vh[-r:], left=False), scale)


def lora_null(weight: Tensor, keep: Tensor, r: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """LoRA-Null (arXiv 2503.02659): W0 on the r input directions that the data to keep use least.

    Args:
        weight: W0 (m, n).
        keep: C (n, n), second moment of the inputs over the data to keep.
        r: the rank, and the dimension of the null space.
        scale: the adapter's s.
    """
    null = torch.linalg.eigh(keep.double()).eigenvectors[:, :r]
    U, S, Vh = torch.linalg.svd(weight.double() @ null, full_matrices=False)
    return _split(U[:, :r], S[:r], Vh[:r] @ null.T, scale)


def random_directions(weight: Tensor, r: int, seed: int, name: str) -> Tensor:
    """Q (m, r) float64, orthonormal, uniformly drawn: a control for SC-LoRA, which differs from it in Q alone.

    Args:
        weight: W0 (m, n), for its shape and device.
        r: how many, r ≤ m.
        seed: of the draw, which is made on the CPU.
        name: the layer's; every layer has a draw of its own.
    """
    own = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:6])
    generator = torch.Generator().manual_seed(own)
    drawn = torch.randn(weight.shape[0], r, generator=generator, dtype=torch.float64)
    Q: Tensor = torch.linalg.qr(drawn).Q
    return Q.to(weight.device)


def _split(U: Tensor, S: Tensor, Vh: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    root = (S / scale).sqrt()
    return root[:, None] * Vh, U * root


def _damped(moment: Tensor) -> Tensor:
    moment = moment.double()
    mean = moment.diagonal().mean()
    return moment + DAMPING * mean * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
