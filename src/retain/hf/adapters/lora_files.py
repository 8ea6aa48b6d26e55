"""Low-rank updates of a model's layers, and the files of an ordinary LoRA that carries them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from retain.errors import InputError
from retain.hf.adapters.initialise import weight_of
from retain.hf.adapters.origin import write_origin
from retain.hf.adapters.residual_lora import ResidualLora
from retain.hf.adapters.save import order_sets, write_card
from retain.hf.models.sides import mutates_base, root_of
from retain.hf.tuners.base_weight import at_least_float32
from retain.hf.tuners.feature_layer import FeatureLayer
from retain.records.files import new_folder
from retain.records.paths import expanded


@torch.no_grad()
def lora_factors(model: nn.Module, adapter: str) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each adapted layer's name and its update as B (m, k) and A (k, n), scale included, in float32 or better.

    Raises:
        InputError: there is no such adapter, or its update is not of low rank.
    """
    config = getattr(model, "peft_config", {}).get(adapter)
    if config is None:
        raise InputError(f"there is no adapter {adapter!r}; there are {', '.join(getattr(model, 'peft_config', {}))}.")
    if reason := _not_carried(model, adapter, config):
        raise InputError(f"adapter {adapter!r} {reason}.")
    any_layer = False
    for name, layer in root_of(model).named_modules():
        if isinstance(layer, LoraLayer) and adapter in layer.lora_A:
            B, A = (at_least_float32(part[adapter].weight) for part in (layer.lora_B, layer.lora_A))
            yield name, B * layer.scaling[adapter], A
            any_layer = True
        elif isinstance(layer, FeatureLayer) and adapter in layer.scaling:
            W0, _ = weight_of(layer.base_layer, root_of(model))
            if (change := layer.low_rank_change(adapter, W0)) is not None:
                yield name, change[0] * layer.scaling[adapter], change[1]
                any_layer = True
    if not any_layer:
        kind = str(getattr(config.peft_type, "value", config.peft_type)).lower()
        raise InputError(f"adapter {adapter!r} is a {kind}, whose update is not of low rank; merge it instead.")


def _not_carried(model: nn.Module, adapter: str, config: Any) -> str | None:
    """The reason why an adapter is no ordinary LoRA of linear layers on the untouched base; None if it is one."""
    if getattr(config, "modules_to_save", None):
        return f"trains {config.modules_to_save} in full, which a LoRA cannot carry; merge it instead"
    if mutates_base(model):
        return "lives on a base that its initialisation rewrote, so alone it is not what was trained; merge it instead"
    if getattr(config, "lora_bias", False) or getattr(config, "trainable_token_indices", None):
        return "trains biases or tokens too, which a LoRA cannot carry; merge it instead"
    for name, layer in root_of(model).named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        variant = layer.lora_variant.get(adapter)
        if variant is not None and not isinstance(variant, ResidualLora):
            kind = type(variant).__name__.removesuffix("Variant").removesuffix("Linear")
            return f"is a {kind}, whose update is not of low rank; merge it instead"
        if adapter in layer.lora_embedding_A or (adapter in layer.lora_A and not _is_linear(layer)):
            return f"changes {name}, which is no linear layer; merge it instead"
    return None


def _is_linear(layer: Any) -> bool:
    down, up = layer.lora_A, layer.lora_B
    return all(part.weight.dim() == 2 for container in (down, up) for part in container.values())


def write_lora(model: Any, adapter: str, factors: Mapping[str, tuple[Tensor, Tensor]], rank: int, folder: Path) -> Path:
    """Write a LoRA of one rank at scale 1; the folder is complete, or as it was.

    Args:
        model: whose adapter it is.
        adapter: whose configuration names base and task.
        factors: B (m, k ≤ rank) and A (k, n) by layer; filled up with zeros.
        rank: of every layer.
        folder: where to write.
    """
    old = model.peft_config[adapter]
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=sorted(factors),
        task_type=old.task_type,
        base_model_name_or_path=old.base_model_name_or_path
        or getattr(getattr(root_of(model), "config", None), "name_or_path", None),
        inference_mode=True,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in root_of(model).modules()),
    )
    weights = {}
    for name, (B, A) in factors.items():
        missing = rank - A.shape[0]
        weights[f"base_model.model.{name}.lora_A.weight"] = nn.functional.pad(A, (0, 0, 0, missing))
        weights[f"base_model.model.{name}.lora_B.weight"] = nn.functional.pad(B, (0, missing))
    folder = expanded(folder).absolute()
    with new_folder(folder) as place:
        save_file(
            {key: value.float().cpu().contiguous() for key, value in weights.items()},
            place / SAFETENSORS_WEIGHTS_NAME,
            metadata={"format": "pt"},
        )
        config.save_pretrained(place)
        order_sets(place, config)
        write_card(place, model, config)
        write_origin(place, model)
    return folder
