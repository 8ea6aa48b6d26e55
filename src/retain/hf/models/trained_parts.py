"""The parts of a model that training changes, each with its change ΔW as a function of what is trained.

`retain.hf.models.updates` measures ΔW by merging a copy of a layer; here it is computed so that autograd can follow it.
Of LoRA and of initialised LoRAs it is s·B A, of the feature-space methods W0·T; of any other method the layer's outputs
for the unit vectors, less those of its base; of weights that are trained in full W − W0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn
from torch.func import functional_call

from retain.errors import InputError
from retain.hf.adapters.initialise import weight_of
from retain.hf.adapters.residual_lora import ResidualDown, ResidualLora
from retain.hf.models.layer_effects import in_float32
from retain.hf.models.sides import eval_mode, is_adapted, root_of
from retain.hf.tuners.base_weight import at_least_float32, features, is_linear
from retain.hf.tuners.feature_layer import FeatureLayer

_NOTHING: tuple[str, ...] = ("\0",)
"""Beginnings that no module's name has."""


@dataclass(frozen=True)
class LayerPart:
    """The weight matrix of a linear layer with adapters.

    Attributes:
        name: of the layer, as in the base.
        layer: PEFT's layer, or one of retain's.
        root: the transformers model that it is in.
    """

    name: str
    layer: Any
    root: nn.Module

    @property
    def shape(self) -> tuple[int, ...]:
        """(m, n), outputs and inputs."""
        inputs, outputs = features(self.layer.get_base_layer())
        return outputs, inputs

    def watched(self, base: nn.Module | None) -> Any:
        """The layer of the base (a model of its own, or inside this one) whose weight changes."""
        return self.layer.get_base_layer() if base is None else base.get_submodule(self.name)

    def change(self, base: nn.Module | None = None) -> Tensor:
        """ΔW (m, n) in float32 or better, with a gradient.

        Args:
            base: the base as a model of its own, where the one inside was rewritten; what was counts as change, too.
        """
        moved = layer_change(self.layer, self.root)
        if base is None:
            return moved
        inside, _ = weight_of(self.layer.get_base_layer(), self.root)
        before, _ = weight_of(base.get_submodule(self.name), base)
        return moved + (inside - before.to(inside))


@dataclass(frozen=True)
class ParameterPart:
    """A parameter that is trained in full: of a copy beside its original, or of a model without adapters.

    Attributes:
        name: of the parameter, as in the base.
        trained: it.
        original: the one it began as; None where only a model of its own holds it.
    """

    name: str
    trained: nn.Parameter
    original: nn.Parameter | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's own."""
        return tuple(self.trained.shape)

    def watched(self, base: nn.Module | None) -> nn.Parameter:
        """The parameter of the base.

        Raises:
            InputError: no base was given, and none is inside the model.
        """
        if base is not None:
            return base.get_parameter(self.name)
        if self.original is None:
            raise InputError(
                f"{self.name} is trained in full, so the model no longer holds its base: give teacher=, a second copy "
                "of the model as it was before training, or train an adapter."
            )
        return self.original

    def change(self, base: nn.Module | None = None) -> Tensor:
        """W − W0 in float32 or better, in the parameter's own shape, with a gradient."""
        now = at_least_float32(self.trained)
        return now - self.watched(base).detach().to(now)


Part = LayerPart | ParameterPart


def trained_parts(model: nn.Module) -> list[Part]:
    """The matrices that adapters change, and the parameters that are trained in full, in the model's order.

    Embeddings, norms and biases count where they are trained in full; adapters on what is no linear layer do not, see
    `without_matrix`.

    Args:
        model: with adapters, or one that is trained in full; also without weights (meta device).

    Raises:
        InputError: adapters change parameters of fused experts or of routers, or no weights at all (prompts).
    """
    root = root_of(model)
    if not is_adapted(model):
        parts: list[Part] = [ParameterPart(name, p) for name, p in root.named_parameters() if p.requires_grad]
    else:
        parts = [part for name, module in _outermost(root) for part in _parts_of(name, module, root)]
    if not parts:
        raise InputError("this model's adapter changes no weights (prompts, for one, do not), so there is no ΔW.")
    return parts


def without_matrix(model: nn.Module) -> list[str]:
    """Names of adapted modules that are no linear layers, embeddings for one; `trained_parts` leaves them out."""
    found = _outermost(root_of(model))
    return [name for name, one in found if isinstance(one, BaseTunerLayer) and not _has_matrix(one)]


def size_of(parts: list[Part]) -> int:
    """The number of weights in parts of a model."""
    return sum(prod(part.shape) for part in parts)


def layer_change(layer: Any, model: nn.Module) -> Tensor:
    """ΔW (m, n) of a linear layer's active adapters, in float32 or better, with a gradient to what they train.

    Args:
        layer: with adapters, not merged.
        model: the transformers model that it is in.

    Raises:
        InputError: adapters are merged.
    """
    if layer.merged:
        raise InputError("the adapters are merged, so what they train changes nothing; call unmerge_adapter() first.")
    if isinstance(layer, FeatureLayer):
        return _of_features(layer, model)
    return _of_factors(layer) if _is_product(layer) else _by_outputs(layer, model)


def _parts_of(name: str, module: Any, root: nn.Module) -> Iterator[Part]:
    if isinstance(module, ParamWrapper):
        raise InputError(
            f"{name}: an adapter changes parameters of experts or of a router, whose Fisher information is not "
            "measured here; leave target_parameters out, or hold the predictions with a KL penalty."
        )
    if isinstance(module, BaseTunerLayer):
        yield from [LayerPart(name, module, root)] if _has_matrix(module) else []
        return
    active = next(iter(module.active_adapters), None)
    if active in module.modules_to_save:
        before = dict(module.original_module.named_parameters())
        for key, parameter in module.modules_to_save[active].named_parameters():
            if key in before:
                yield ParameterPart(f"{name}.{key}", parameter, before[key])


def _outermost(root: nn.Module) -> Iterator[tuple[str, Any]]:
    """Tuner layers and copies trained in full that do not lie within another one."""
    inside = _NOTHING
    for key, module in root.named_modules():
        if isinstance(module, (BaseTunerLayer, ModulesToSaveWrapper)) and not key.startswith(inside):
            inside += (f"{key}.",)
            yield key, module


def _has_matrix(layer: Any) -> bool:
    base = layer.get_base_layer()
    return is_linear(base) or (hasattr(base, "in_features") and hasattr(base, "out_features"))


def _of_features(layer: FeatureLayer, model: nn.Module) -> Tensor:
    """Σ s·W0·T."""
    W0, _ = weight_of(layer.base_layer, model)
    changes = [layer.scaling[one] * layer.change(one, W0) for one in layer.active_adapters if one in layer.scaling]
    return torch.stack(changes).sum(0) if len(changes) > 1 else changes[0] if changes else torch.zeros_like(W0)


def _is_product(layer: Any) -> bool:
    """Tell whether a layer's active adapters are LoRAs whose ΔW is s·B A; DoRA's, for one, is not."""
    if not isinstance(layer, LoraLayer):
        return False
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    variants = [layer.lora_variant.get(name) for name in names]
    plain = all(one is None or isinstance(one, ResidualLora) for one in variants)
    matrices = all(isinstance(layer.lora_A[name], (nn.Linear, ResidualDown)) for name in names)  # AdaLoRA's are not
    return bool(names) and plain and matrices


def _of_factors(layer: Any) -> Tensor:
    """Σ s·B A; of an initialised LoRA this is s·(B A − B0 A0)."""
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    ups = [layer.scaling[name] * at_least_float32(layer.lora_B[name].weight) for name in names]
    downs = [at_least_float32(layer.lora_A[name].weight) for name in names]
    product: Tensor = torch.cat(ups, dim=1) @ torch.cat(downs)
    return product


def _by_outputs(layer: Any, model: nn.Module) -> Tensor:
    """The layer's outputs for the unit vectors, less that for 0 and less W0, over a base in float32."""
    base = layer.get_base_layer()
    W0, _ = weight_of(base, model)
    copied = in_float32(layer, W0, model)
    trained = {name: at_least_float32(p) for name, p in layer.named_parameters() if p.requires_grad}
    units = torch.eye(W0.shape[1] + 1, W0.shape[1], dtype=W0.dtype, device=W0.device)
    with eval_mode(copied):
        outputs: Tensor = functional_call(copied, trained, (units,))
    return (outputs[:-1] - outputs[-1:]).T - W0
