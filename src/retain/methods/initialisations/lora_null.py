"""LoRA-Null (arXiv 2503.02659): train W0 on the r input directions that the text to keep uses least."""

from __future__ import annotations

import torch
from torch import Tensor

from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.initialisations.factors import Factors, FrozenLayer, split_evenly


def lora_null(weight: Tensor, keep: Tensor, r: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """A0 (r, n) and B0 (m, r), float64, with s·B0 A0 = W0 N Nᵀ, N (n, r) the null directions.

    Args:
        weight: W0 (m, n).
        keep: C (n, n), second moment of the inputs over the text to keep.
        r: the rank, and the dimension of the null space.
        scale: the adapter's s.
    """
    null = torch.linalg.eigh(keep.double()).eigenvectors[:, :r]
    U, S, Vh = torch.linalg.svd(weight.double() @ null, full_matrices=False)
    return split_evenly(U[:, :r], S[:r], Vh[:r] @ null.T, scale)


def initialise(layer: FrozenLayer, config: SCLoRAConfig) -> Factors:
    """The factors of one layer."""
    return Factors(*lora_null(layer.weight, layer.input_moment("keep"), config.r, config.scale))
