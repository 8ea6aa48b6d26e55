"""MiLoRA (arXiv 2406.09044): train the r smallest singular components of W0. Reads no text."""

from __future__ import annotations

import torch
from torch import Tensor

from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.initialisations.factors import Factors, FrozenLayer, split_evenly


def milora(weight: Tensor, r: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """A0 (r, n) and B0 (m, r), float64, with s·B0 A0 the r smallest singular components of W0.

    Args:
        weight: W0 (m, n).
        r: the rank.
        scale: the adapter's s.
    """
    U, S, Vh = torch.linalg.svd(weight.double(), full_matrices=False)
    return split_evenly(U[:, -r:], S[-r:], Vh[-r:], scale)


def initialise(layer: FrozenLayer, config: SCLoRAConfig) -> Factors:
    """The factors of one layer."""
    return Factors(*milora(layer.weight, config.r, config.scale))
