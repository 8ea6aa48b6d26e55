"""The modules that a feature-space method can adapt, and the obstacles of those that it cannot, each with its cure."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

from peft import LoraConfig
from peft.tuners.lora import LoraLayer, LoraModel
from peft.tuners.tuners_utils import BaseTunerLayer, _maybe_include_all_linear_layers
from peft.utils.other import AuxiliaryTrainingWrapper
from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
from torch import nn
from torch.distributed.tensor import DTensor

from retain.errors import TargetError
from retain.hf.models.direct_reads import passed_over
from retain.hf.models.experts import is_experts
from retain.hf.models.sides import root_of
from retain.hf.tuners.all_linear import ALL_LINEAR, all_linear_excludes, is_all_linear, without_default
from retain.hf.tuners.base_weight import features, is_linear, quantization_backend


def problems(tuner: Any, config: Any, model: nn.Module) -> list[str]:
    """The obstacles to adapting the modules that a config names, found before any module is changed.

    Args:
        tuner: the `FeatureTuner`, which knows how PEFT matches names.
        config: a `FeatureConfig` whose `target_modules` is resolved.
        model: the model to be adapted.

    Returns:
        One sentence a problem, each naming the module and the cure.
    """
    sentences = []
    for key, module in matched(tuner, config, model):
        if isinstance(module, tuner.tuner_layer_cls):
            sentences += type(module).problems(config, key, module.in_features)
        elif reason := unsupported(key, module, model):
            sentences.append(f"{key}: {reason}")
        else:
            sentences += tuner.tuner_layer_cls.problems(config, key, features(module)[0])
    return sentences


def lora_targets(
    model: nn.Module, fields: dict[str, Any] | None = None, *, under_any: bool = False
) -> dict[str, nn.Module]:
    """The linear layers that a LoRA would adapt, by PEFT's own matching; nothing is changed.

    Args:
        model: the base, or a model with LoRA adapters on it, whose base layers are given then.
        fields: `target_modules` and the like, as a `LoraConfig` takes them; all linear layers but the output head where
            `target_modules` is missing.
        under_any: adapters of any method may be on a layer already; else only LoRAs.

    Returns:
        Layers by their names in the base model, in its order.

    Raises:
        TargetError: none matches, or one that is no linear layer or cannot be adapted.
    """
    root = root_of(model)
    config = LoraConfig(**{"target_modules": ALL_LINEAR, **(fields or {})})
    if config.target_modules is None:
        kind = getattr(getattr(root, "config", None), "model_type", None)
        config.target_modules = LoraModel.target_module_mapping.get(kind, ALL_LINEAR if without_default(root) else None)
    if config.target_modules is None:
        raise TargetError(no_default(kind, root))
    everything = is_all_linear(config.target_modules)
    if everything:
        config.exclude_modules = all_linear_excludes(root, config.exclude_modules)
    layers: dict[str, nn.Module] = {}
    obstacles: list[str] = []
    carriers = BaseTunerLayer if under_any else LoraLayer
    copies = tuple(f"{key}." for key, module in root.named_modules() if isinstance(module, AuxiliaryTrainingWrapper))
    found = [pair for pair in matched(LoraModel, config, root) if not pair[0].startswith(copies)]
    experts = taken_for_experts([key for key, _ in found], root)
    for key, module in found:
        if everything and key in experts:
            continue
        base: Any = module.get_base_layer() if isinstance(module, carriers) else module
        if key in experts and not under_any:
            obstacles.append(f"{key}: {_TAKEN}")
        elif reason := unsupported(key, base, root):
            obstacles.append(f"{key}: {reason}")
        layers[key] = base
    if obstacles:
        raise TargetError(obstacles)
    if not layers:
        raise TargetError(
            f"No layer matches target_modules={config.target_modules!r}; this model's linear layers are named "
            f"{', '.join(linear_names(root))}."
        )
    return layers


def no_default(kind: str | None, root: nn.Module) -> str:
    """The refusal of a config without `target_modules` for a type of model that has no default, with the cure."""
    return (  # the first sentence is PEFT's, for tools that look for it
        f"Please specify `target_modules` in `peft_config`. There is no default for target_modules for models of type "
        f"{kind!r}; this one's linear layers are named {', '.join(linear_names(root))}. Name some of them, or use "
        "'all-linear'."
    )


_TAKEN = (
    "PEFT takes a LoRA's target of this name for the fused experts of this mixture, so the layer itself cannot have "
    "one; leave it out of target_modules, or take vefa or lorfa."
)


def taken_for_experts(names: Sequence[str], root: nn.Module) -> set[str]:
    """Those of some layers that PEFT, given their names as a LoRA's targets, takes for the experts of a mixture.

    It translates names of older versions of transformers: `gate_proj` of a shared expert becomes the `gate_up_proj` of
    all experts.
    """
    if not any(is_experts(module) for module in root.modules()):
        return set()
    return {name for name in names if _is_taken(name, root)}


def _is_taken(name: str, root: nn.Module) -> bool:
    config = LoraConfig(target_modules=[name])
    try:
        convert_peft_config_for_transformers(config, model=root, conversions=None)
    except ValueError:  # one of two names that become one
        return True
    return name not in config.target_modules


def matched(tuner: Any, config: Any, model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that PEFT will match, by its own rules."""
    expanded = _maybe_include_all_linear_layers(copy.copy(config), model)
    adapted: list[str] = []
    for key, module in model.named_modules():
        if not key or key.startswith(tuple(adapted)):
            continue
        if isinstance(module, BaseTunerLayer):
            adapted.append(key + ".")
        if tuner._check_target_module_exists(expanded, key):  # noqa: SLF001 -- PEFT's own matching, one home
            yield key, module


def unsupported(key: str, module: nn.Module, model: nn.Module) -> str | None:
    """The reason why a module cannot be adapted, with the cure; None if it can."""
    return next(_obstacles(key, module, model), None)


def _obstacles(key: str, module: nn.Module, model: nn.Module) -> Iterator[str]:
    parent, _, name = key.rpartition(".")
    holder = model.get_submodule(parent)
    kind = type(module).__name__
    leave_out = f"leave it out of target_modules or add it to exclude_modules ({pattern(key)!r} is all of its name)"
    own = list(module.parameters(recurse=False))
    if isinstance(module, BaseTunerLayer):
        yield f"it already carries {kind} of another method; merge or unload that first."
    if isinstance(module, nn.Embedding):
        yield f"an embedding looks up token ids and has no input features to shift; {leave_out}."
    if isinstance(module, nn.MultiheadAttention) or isinstance(holder, nn.MultiheadAttention):
        yield (
            f"nn.MultiheadAttention reads its weights without calling their layers; {leave_out}, or use a model with "
            "separate q, k, v projections."
        )
    elif passed_over(holder, name):
        yield (
            f"the code of {type(holder).__name__} reads this weight without calling the layer, always or in a fused "
            f"kernel, so an adapter on it would be passed over; {leave_out}."
        )
    if any(isinstance(p, DTensor) for p in own):
        yield (
            "its weight is sharded (a DTensor: tensor parallelism or fully_shard); attach the adapter to the full "
            "model first and shard it afterwards; tensor parallelism is not supported."
        )
    if is_experts(module):
        yield f"it holds fused experts (a 3-D parameter), whose input is routed inside; {leave_out}."
    if not is_linear(module) and quantization_backend(module, model) is None:
        yield f"{kind} is not a linear layer (nn.Linear, Conv1D, or a quantised one); {leave_out}."


def pattern(key: str) -> str:
    """A regular expression for the layers of a name's last two parts, wherever they are: for `exclude_modules`."""
    return r"(.*\.)?" + r"\.".join(r"\d+" if part.isdigit() else re.escape(part) for part in key.split(".")[-2:])


def linear_names(model: nn.Module) -> list[str]:
    """The last parts of the names of all linear layers, as in the base: the names for `target_modules`."""
    plain: dict[str, nn.Module] = {}
    inside: tuple[str, ...] = ("\0",)
    for key, module in root_of(model).named_modules():
        if not key.startswith(inside):
            if isinstance(module, BaseTunerLayer):
                inside += (f"{key}.",)
            plain[key] = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
    return sorted({key.rpartition(".")[2] for key, module in plain.items() if is_linear(module)})
