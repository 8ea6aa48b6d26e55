"""CorDA, knowledge-preserved mode (arXiv 2406.05223): train the components of W0 that the text to keep uses least.

With C the second moment of the inputs over the text to keep, W0 C = U S Vᵀ, so W0 = U S (Vᵀ C⁻¹); of its components
the r with the smallest singular values are trained.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.initialisations.factors import Factors, FrozenLayer, split_evenly

DAMPING = 0.01
"""PEFT's CorDA adds this share of the mean diagonal to the moments before it inverts them; so do we."""


def corda_kpm(weight: Tensor, keep: Tensor, r: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """A0 (r, n) and B0 (m, r), float64, with s·B0 A0 the r smallest components of W0.

    Args:
        weight: W0 (m, n).
        keep: C (n, n), second moment of the inputs over the text to keep.
        r: the rank.
        scale: the adapter's s.
    """
    C = _damped(keep)
    U, S, Vh = torch.linalg.svd(weight.double() @ C, full_matrices=False)
    return split_evenly(U[:, -r:], S[-r:], torch.linalg.solve(C, Vh[-r:], left=False), scale)


def initialise(layer: FrozenLayer, config: SCLoRAConfig) -> Factors:
    """The factors of one layer."""
    return Factors(*corda_kpm(layer.weight, layer.input_moment("keep"), config.r, config.scale))


def _damped(moment: Tensor) -> Tensor:
    moment = moment.double()
    mean = moment.diagonal().mean()
    return moment + DAMPING * mean * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
