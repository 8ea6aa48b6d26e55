"""The parts of a model that the update scaling acts on: layers with adapters, and modules trained in full.

Most methods' updates are linear in one of their factors, for example B in LoRA's ΔW = s·B A. Moving that factor from
the value at which the update is 0 by α moves the update by exactly α, and the adapter keeps its form.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from peft.tuners.fourierft.layer import FourierFTLayer
from peft.tuners.hira.layer import HiraLayer
from peft.tuners.ia3.layer import IA3Layer
from peft.tuners.ln_tuning.layer import LNTuningLayer
from peft.tuners.loha.layer import LoHaLayer
from peft.tuners.lokr.layer import LoKrLayer
from peft.tuners.lora import LoraLayer
from peft.tuners.randlora.layer import RandLoraLayer
from peft.tuners.shira.layer import ShiraLayer
from peft.tuners.supertuning.layer import SupertuningLayer
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.tuners.vera.layer import VeraLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn

from retain.errors import InputError, MergeError
from retain.hf.adapters.residual_lora import ResidualLora
from retain.hf.models.sides import is_adapted, mutates_base, root_of
from retain.hf.tuners.base_weight import at_least_float32
from retain.hf.tuners.feature_layer import FeatureLayer

Alpha = float | Mapping[str, float]
"""One α for all, or α by a regular expression that is searched in module names; the first that matches counts, and
what none matches keeps 1."""

_LINEAR_IN: dict[type, tuple[str, ...]] = {
    LoraLayer: ("lora_B", "lora_embedding_B"),  # AdaLoRA and retain's SC-LoRA among them
    LoHaLayer: ("hada_w1_a",),
    LoKrLayer: ("lokr_w1", "lokr_w1_a"),  # a layer has one of the two
    VeraLayer: ("vera_lambda_b",),
    FourierFTLayer: ("fourierft_spectrum",),
    RandLoraLayer: ("randlora_lambda",),
    ShiraLayer: ("shira_weight",),
    SupertuningLayer: ("supertuning_values", "supertuning_lora_B"),
    HiraLayer: ("hira_B", "hira_embedding_B"),
    IA3Layer: ("ia3_l",),
    TrainableTokensLayer: ("trainable_tokens_delta",),
    LNTuningLayer: ("ln_tuning_layers",),
}
"""The containers, keyed by adapter, in which a method's update is linear. A feature-space method of ours is linear in
the last of its `adapter_layer_names`."""


class Factor(NamedTuple):
    """A tensor in which an update is affine.

    Attributes:
        tensor: a parameter or buffer of the model itself, of any shape.
        origin: the value at which the update is 0: a number, or a tensor of that shape.
    """

    tensor: Tensor
    origin: float | Tensor

    def at(self, alpha: float) -> Tensor:
        """Origin + α(tensor − origin), computed in float32 or better and rounded once to the tensor's dtype."""
        now, origin = at_least_float32(self.tensor.detach()), self.origin
        if isinstance(origin, Tensor):
            origin = origin.detach().to(now)
        if alpha == 0:
            return (torch.zeros_like(now) + origin).to(self.tensor.dtype)
        moved: Tensor = now * alpha if isinstance(origin, float) and origin == 0 else origin + alpha * (now - origin)
        return moved.to(self.tensor.dtype)


def parts(model: nn.Module) -> list[tuple[str, Any]]:
    """Layers with adapters and modules trained in full, by their names in the transformers model."""
    return [
        (key.replace(".base_layer", "").removesuffix(".token_adapter"), module)
        for key, module in root_of(model).named_modules()
        if isinstance(module, (BaseTunerLayer, ModulesToSaveWrapper))
    ]


def factors(module: Any, adapters: Sequence[str]) -> list[Factor] | None:
    """The tensors in which the sum of some adapters' updates of one layer is linear.

    Args:
        module: one of `parts`.
        adapters: names; those that the layer does not have do not count.

    Returns:
        The tensors with their values at α = 0; none where the layer has none of the adapters. None where the update is
        not linear in any factor, so that the adapter at α is not one of its own form.
    """
    if isinstance(module, ModulesToSaveWrapper):
        return [factor for name in adapters for factor in _saved(module, name)]
    containers = _containers(module)
    if not _present(module, adapters):
        return []
    names = [name for name in adapters if any(name in getattr(module, key) for key in containers)]
    if not names:
        return None
    product = isinstance(module, IA3Layer) and len(names) > 1
    if product or (isinstance(module, LoraLayer) and any(_bent(module, name) for name in names)):
        return None
    held = [(name, getattr(module, key)[name]) for key in containers for name in names if name in getattr(module, key)]
    return [Factor(tensor, origin) for name, value in held for tensor, origin in _tensors(module, name, value)]


def _containers(module: Any) -> tuple[str, ...]:
    if isinstance(module, FeatureLayer):
        return module.adapter_layer_names[-1:]
    return next((names for kind, names in _LINEAR_IN.items() if isinstance(module, kind)), ())


def _present(module: Any, adapters: Sequence[str]) -> bool:
    return any(name in getattr(module, key) for key in module.adapter_layer_names for name in adapters)


def _bent(layer: Any, adapter: str) -> bool:
    """Tell whether a LoRA adapter is a variant whose update is not B A: DoRA and the like."""
    variant = layer.lora_variant.get(adapter)
    return variant is not None and not isinstance(variant, ResidualLora)


def _tensors(module: Any, adapter: str, value: Any) -> Iterator[tuple[Tensor, float | Tensor]]:
    if isinstance(module, TrainableTokensLayer):
        yield value, module.trainable_tokens_original[adapter]
    elif isinstance(module, LNTuningLayer):
        yield from _beside(value, module.get_base_layer())
    elif isinstance(value, nn.Module):  # an SC-LoRA's B0 is a buffer: s(αB A − αB0 A0) is α times the update
        yield from ((tensor, 0.0) for tensor in (*value.parameters(), *value.buffers()))
    else:
        yield value, 1.0 if isinstance(module, IA3Layer) else 0.0


def _saved(wrapper: Any, adapter: str) -> Iterator[Factor]:
    if adapter in wrapper.modules_to_save:
        yield from (Factor(*pair) for pair in _beside(wrapper.modules_to_save[adapter], wrapper.original_module))


def _beside(trained: nn.Module, original: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    before = tensors_of(original)
    yield from ((tensor, before[key]) for key, tensor in tensors_of(trained).items() if tensor.is_floating_point())


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers by all names that they have."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def alphas(names: Sequence[str], alpha: Alpha) -> dict[str, float]:
    """α for each of some module names.

    Raises:
        InputError: an α is not finite, a pattern is no regular expression, or it matches no name.
    """
    table = alpha if isinstance(alpha, Mapping) else {"": alpha}
    problems = [
        f"alpha={a!r}: give a finite number; 0 is the base, 1 the tuned model." for a in table.values() if _odd(a)
    ]
    for pattern in table:
        try:
            if not any(re.search(pattern, name) for name in names):
                problems.append(f"{pattern!r} matches none of the changed modules: {_some(names)}.")
        except re.error as error:
            problems.append(f"{pattern!r} is no regular expression ({error}).")
    if problems:
        raise InputError(problems)
    return {name: next((float(a) for pattern, a in table.items() if re.search(pattern, name)), 1.0) for name in names}


def _odd(alpha: Any) -> bool:
    return isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha)


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:4], *(["…"] if len(names) > 4 else [])])


def check_scalable(model: nn.Module) -> None:
    """Refuse a model whose adapters' update cannot be scaled.

    Raises:
        InputError: it carries none, they are no updates of layers, their initialisation rewrote the base, or they are
            offloaded.
        MergeError: they are merged.
    """
    if problem := _obstacle(model):
        raise InputError(problem)
    if any(isinstance(module, BaseTunerLayer) and module.merged for _, module in parts(model)):
        raise MergeError(
            "The adapters are merged, so their update can no longer be scaled; call unmerge_adapter() first, or give "
            "the merged model without adapters together with its base."
        )


def _obstacle(model: nn.Module) -> str | None:
    if not is_adapted(model):
        return "This model carries no adapters; for one that was trained in full, give the base that it came from."
    for name, config in getattr(model, "peft_config", {}).items():
        if getattr(config, "is_prompt_learning", False) or getattr(config, "is_adaption_prompt", False):
            kind = str(getattr(config.peft_type, "value", config.peft_type)).lower()
            return f"adapter {name!r} is {kind}: it is no update of weights, so it cannot be scaled, only switched off."
    if reason := mutates_base(model):
        return (
            f"{reason.rpartition(';')[0]}. Its base is not inside it, so its update cannot be scaled there; merge it "
            "(merge_and_unload) and give the merged model together with its base."
        )
    if not (changed := parts(model)):
        return "This model's adapters change no layers, so there is no update to scale."
    away = [name for name, module in changed if any(p.device.type == "meta" for p in _own(module))]
    return f"{away[0]}: its adapter is offloaded; load the model on one device to scale it." if away else None


def _own(module: Any) -> Iterator[Tensor]:
    for key in getattr(module, "adapter_layer_names", ("modules_to_save",)):
        container = getattr(module, key)
        if isinstance(container, nn.Module):
            yield from container.parameters()


def scales_exactly(model: nn.Module) -> bool:
    """Tell whether `scaled` applies to a model's adapters: changed weights are W0 + α(W_eff − W0), up to rounding.

    False for prompts and the like, and for adapters that are merged, offloaded, or whose initialisation rewrote the
    base. It says nothing of a model without adapters, which is scaled together with its base.
    """
    try:
        check_scalable(model)
    except (InputError, MergeError):
        return False
    return True


def keeps_its_form(model: nn.Module, adapter_name: str = "default") -> str | None:
    """The reason why an adapter at α is none of its own method, so `write_at` cannot write it; None if it is one.

    Args:
        model: a model with adapters. One without any is written in full, for which there is no obstacle.
        adapter_name: which adapter.

    Returns:
        A sentence that names the method and a layer, or None.
    """
    if not is_adapted(model):
        return None
    for name, module in parts(model):
        if factors(module, [adapter_name]) is None:
            return (
                f"{name}: the update by {method_name(model, module, adapter_name)} is not linear in any of its "
                "parameters, so at another strength it is no adapter of its kind; write the whole model with "
                "merged_at, or scale it in memory with scaled."
            )
    return None


def method_name(model: nn.Module, module: Any, adapter: str) -> str:
    """The usual name of an adapter's method, in one word."""
    variant = getattr(module, "lora_variant", {}).get(adapter)
    if variant is not None:
        return re.sub(r"(Linear|Embedding|Conv\dd|_ConvNd|ParamWrapper)?Variant$", "", type(variant).__name__)
    config = getattr(model, "peft_config", {}).get(adapter)
    kind = getattr(config, "peft_type", type(module).__name__)
    return str(getattr(kind, "value", kind))
