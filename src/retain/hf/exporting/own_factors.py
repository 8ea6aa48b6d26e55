"""Low-rank updates that an adapter holds itself, or that follow from what it holds: LoRA, SC-LoRA, LoRFA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from retain.hf.adapters.initialise import weight_of
from retain.hf.adapters.residual_lora import ResidualLora
from retain.hf.models.sides import mutates_base, root_of
from retain.hf.tuners.base_weight import at_least_float32
from retain.hf.tuners.feature_layer import FeatureLayer


def has_factors(model: nn.Module, adapter: str) -> bool:
    """Tell whether an adapter's update is B A in every layer, with factors that it holds or that follow from it.

    False for variants such as DoRA, and where the initialisation rewrote the base that they act beside.
    """
    if mutates_base(model):
        return False
    own = [layer for _, layer in _layers(model) if _has(layer, adapter)]
    return bool(own) and all(_gives_factors(layer, adapter) for layer in own)


def _layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from ((name, one) for name, one in root_of(model).named_modules() if isinstance(one, BaseTunerLayer))


def _has(layer: Any, adapter: str) -> bool:
    return any(adapter in getattr(layer, name) for name in layer.adapter_layer_names)


def _gives_factors(layer: Any, adapter: str) -> bool:
    if isinstance(layer, FeatureLayer):
        return type(layer).low_rank_change is not FeatureLayer.low_rank_change
    if not isinstance(layer, LoraLayer) or isinstance(layer, ParamWrapper):
        return False
    variant = layer.lora_variant.get(adapter)
    plain = variant is None or isinstance(variant, ResidualLora)
    return plain and adapter in layer.lora_A and _is_linear(layer) and not layer.lora_bias.get(adapter, False)


@torch.no_grad()
def lora_factors(model: nn.Module, adapter: str) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each adapted layer's name and its update as B (m, k) and A (k, n), scale included, in float32 or better.

    Args:
        model: with an adapter that `has_factors`.
        adapter: its name.
    """
    for name, layer in _layers(model):
        if not _has(layer, adapter):
            continue
        if isinstance(layer, FeatureLayer):
            W0, _ = weight_of(layer.base_layer, root_of(model))
            change = layer.low_rank_change(adapter, W0)
            if change is not None:
                yield name, change[0] * layer.scaling[adapter], change[1]
        else:
            B, A = (at_least_float32(part[adapter].weight) for part in (layer.lora_B, layer.lora_A))
            yield name, B * layer.scaling[adapter], A


def _is_linear(layer: Any) -> bool:
    down, up = layer.lora_A, layer.lora_B
    return all(part.weight.dim() == 2 for container in (down, up) for part in container.values())
