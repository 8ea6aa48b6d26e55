"""Attach a sparse update whose entries were chosen by a score: PEFT's Supertuning with other indices in its buffer.

PEFT saves the buffer with the values, so stock PEFT loads such an adapter; it chooses by size only where it makes one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from retain.errors import TargetError
from retain.hf.adapters.attach import attach
from retain.hf.adapters.sparse_layer import sparse_layers, take_sparse_form
from retain.hf.models.sides import root_of
from retain.hf.tuners.base_weight import quantization_backend

METHOD = "supertuning"
"""PEFT's name of the tuner."""


def sparsity_of(density: float) -> float:
    """PEFT's sparsity for a density ρ: the largest s for which its own product n·(1 − s) is not below n·ρ.

    In floating point 1 − (1 − ρ) may be below ρ, and PEFT rounds the number of entries down.
    """
    sparsity = 1 - density
    while 1 - sparsity < density:
        sparsity = math.nextafter(sparsity, 0)
    return sparsity


def count_of(size: int, density: float) -> int:
    """The number of entries that PEFT trains of a matrix of some size."""
    return int(size * (1 - sparsity_of(density)))


def check_layers(layers: Mapping[str, nn.Module], model: nn.Module, density: float) -> None:
    """Refuse layers whose entries cannot be trained by themselves.

    Raises:
        TargetError: with every one.
    """
    problems = [found for key, layer in layers.items() if (found := _obstacle(key, layer, model))]
    sizes = {} if problems else {key: _size(layer) for key, layer in layers.items()}
    if empty := [key for key, size in sizes.items() if count_of(size, density) < 1]:
        told = f"density={density:g}: leaves no entry to train in {len(empty)} of {len(layers)} layers, as {empty[0]}; "
        told += (
            f"the smallest has {min(sizes.values())} entries: raise it above one in so many, or leave such layers out."
        )
        problems = [told]
    if problems:
        raise TargetError(problems)


def _size(layer: Any) -> int:
    return int(layer.weight.numel())


def _obstacle(key: str, layer: Any, model: nn.Module) -> str | None:
    if quantization_backend(layer, root_of(model)) is not None:
        return f"{key}: the weights of a quantised layer are codes, whose entries cannot be trained by themselves."
    if not isinstance(layer, nn.Linear):
        return (
            f"{key}: PEFT's sparse tuner takes nn.Linear, and this is {type(layer).__name__}; leave it out of "
            "target_modules, or take another method (lora, sc-lora, vefa and lorfa do)."
        )
    size = layer.weight.numel()
    if size > torch.iinfo(torch.int32).max:
        return f"{key}: it has {size} entries, and PEFT's file numbers {torch.iinfo(torch.int32).max} at most."
    return None


def attach_sparse(
    model: nn.Module,
    fields: dict[str, Any],
    density: float,
    chosen: Mapping[str, Tensor],
    told: dict[str, Any],
    adapter: str = "default",
) -> Any:
    """Attach an adapter that trains chosen entries of some layers; it begins at 0, so it is the base bit for bit.

    Args:
        model: the base; its weights are not touched.
        fields: of PEFT's `SupertuningConfig`, without its sparsity.
        density: the share of each matrix's entries.
        chosen: flat places (k,) by the layers' names in the base, each once, in ascending order.
        told: what the record says of the choice, beside PEFT's fields.
        adapter: its name.

    Raises:
        InputError: as `attach`.
    """
    planned = {**fields, "target_modules": list(chosen), "sparsity": sparsity_of(density)}
    adapted: Any = attach(model, METHOD, planned, adapter=adapter)
    for key, layer in sparse_layers(adapted, adapter):
        buffer = layer.supertuning_indices[adapter]
        buffer.copy_(chosen[key].to(buffer))
    adapted.peft_config[adapter].selection = dict(told)
    take_sparse_form(adapted)
    return adapted
