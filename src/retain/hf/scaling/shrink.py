"""Make a trained update smaller in place, through its parameters, so that training can go on from there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.boft.layer import BOFTLayer
from peft.tuners.hra.layer import HRALayer
from peft.tuners.lora import LoraLayer
from peft.tuners.oft.layer import OFTLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.adapters.initialise import weight_of
from retain.hf.adapters.residual_lora import ResidualLora
from retain.hf.models.sides import root_of
from retain.hf.scaling.parts import Factor, check_scalable, factors, method_name, parts
from retain.hf.tuners.base_weight import is_linear
from retain.hf.tuners.feature_layer import FeatureLayer


@torch.no_grad()
def shrink(model: nn.Module, factor: float) -> bool:
    """Multiply the active adapters' update by a factor, in place.

    Exact for methods whose update is linear in one of their factors. Others are moved by the factor towards where they
    are the identity (OFT and BOFT: R → 0, s → 1; DoRA: B → 0 and the magnitude → the row norms of W0; HRA: each pair of
    vectors → its mean, for two equal reflections undo each other; a rotation of ours: K → 0), which shrinks the update
    by about the factor, up to terms of second order. So is SC-LoRA: ΔA and ΔB → 0. An exact way exists for it,
    multiplying B0 and B by the factor, but it would wear away the initial B0 a little with every call; this one leaves
    A0 and B0 alone.

    Modules trained in full are left alone, and so is what is kept in an optimiser.

    Args:
        model: a model with adapters that are not merged.
        factor: finite, 0 or more; 1 changes nothing, 0 takes the update away.

    Returns:
        True if every layer's update was multiplied by exactly the factor, up to rounding.

    Raises:
        InputError: the factor is no such number, or it is not known where a method is the identity; then nothing was
            changed.
        MergeError: adapters are merged.
    """
    if not math.isfinite(factor) or factor < 0:
        raise InputError(f"factor={factor}: give a finite number, 0 or more.")
    check_scalable(model)
    exact, todo = True, {}
    for name, module in parts(model):
        if isinstance(module, ModulesToSaveWrapper):
            continue
        linear = factors(module, module.active_adapters)
        if isinstance(module, FeatureLayer) and module.shrunk_by:
            exact = False
            linear = list(_of_own_form(module))
        elif linear is None or _has_residual(module):
            exact = False
            linear = list(_pulled(model, name, module))
        todo.update({id(f.tensor): f for f in linear})
    for part in todo.values():
        if factor != 1:
            part.tensor.copy_(part.at(factor))
    return exact or factor == 1


def _of_own_form(layer: FeatureLayer) -> Iterator[Factor]:
    """The tensors of a layer of ours whose update keeps its form as they go to 0."""
    for container in layer.shrunk_by:
        for adapter in _adapters(layer, container):
            yield from (Factor(parameter, 0.0) for parameter in getattr(layer, container)[adapter].parameters())


def _has_residual(module: Any) -> bool:
    return any(isinstance(module.lora_variant.get(name), ResidualLora) for name in _adapters(module, "lora_B"))


def _adapters(module: Any, container: str) -> list[str]:
    return [name for name in module.active_adapters if name in getattr(module, container, ())]


def _pulled(model: nn.Module, name: str, module: Any) -> Iterator[Factor]:
    """The trained tensors of a layer that is not linear in one of them, each with its value at the identity."""
    if isinstance(module, LoraLayer):
        for adapter in _adapters(module, "lora_B"):
            yield from _lora(model, name, module, adapter)
    elif isinstance(module, (OFTLayer, BOFTLayer)):
        for container, origin in (("oft_R", 0.0), ("oft_embedding_R", 0.0), ("boft_R", 0.0), ("boft_s", 1.0)):
            for adapter in _adapters(module, container):
                held = getattr(module, container)[adapter]
                yield from (Factor(t, origin) for t in (held.parameters() if isinstance(held, nn.Module) else [held]))
    elif isinstance(module, HRALayer) and all(module.hra_r[a] % 2 == 0 for a in _adapters(module, "hra_u")):
        for adapter in _adapters(module, "hra_u"):
            yield Factor(module.hra_u[adapter], _pair_means(module.hra_u[adapter]))
    else:
        raise InputError(_unknown(model, name, module))


def _unknown(model: nn.Module, name: str, module: Any) -> str:
    kind = method_name(model, module, next(iter(module.active_adapters), ""))
    return (
        f"{name}: where this {kind} is the identity is not known, so its update cannot be made smaller in training; "
        "scale it afterwards."
    )


def _lora(model: nn.Module, name: str, module: Any, adapter: str) -> Iterator[Factor]:
    variant = module.lora_variant.get(adapter)
    if isinstance(variant, ResidualLora):
        yield from (Factor(part[adapter].delta, 0.0) for part in (module.lora_A, module.lora_B))
        return
    yield from (Factor(parameter, 0.0) for parameter in module.lora_B[adapter].parameters())
    if adapter in module.lora_magnitude_vector and is_linear(module.get_base_layer()):
        W0, _ = weight_of(module.get_base_layer(), root_of(model))
        yield Factor(module.lora_magnitude_vector[adapter].weight, W0.norm(dim=1))
    elif variant is not None:
        raise InputError(_unknown(model, name, module))


def _pair_means(vectors: Tensor) -> Tensor:
    """Of each two columns their mean, twice: (n, r) to (n, r)."""
    means = (vectors[:, 0::2] + vectors[:, 1::2]) / 2
    return means.repeat_interleave(2, dim=1)
