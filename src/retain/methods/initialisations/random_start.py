"""The control for SC-LoRA: the same adapter with output directions Q drawn at random. Reads no text."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.initialisations.factors import Factors, FrozenLayer
from retain.methods.initialisations.sc_lora import factors_in


def random_directions(weight: Tensor, r: int, seed: int, name: str) -> Tensor:
    """Q (m, r) float64, orthonormal, uniformly drawn.

    Args:
        weight: W0 (m, n), for its shape and device.
        r: the number of directions, r ≤ m.
        seed: of the draw, which is made on the CPU.
        name: the layer's; every layer has a draw of its own.
    """
    own = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:6])
    generator = torch.Generator().manual_seed(own)
    drawn = torch.randn(weight.shape[0], r, generator=generator, dtype=torch.float64)
    Q: Tensor = torch.linalg.qr(drawn).Q
    return Q.to(weight.device)


def initialise(layer: FrozenLayer, config: SCLoRAConfig) -> Factors:
    """The factors of one layer."""
    return Factors(*factors_in(random_directions(layer.weight, config.r, config.seed, layer.name), layer.weight))
