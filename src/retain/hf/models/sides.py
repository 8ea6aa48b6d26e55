"""The base inside a model with adapters, and the cases in which it is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from retain.errors import InputError, MergeError
from retain.hf.tuners.storage import storage_kept

_MUTATING = ("pissa", "corda", "olora", "loftq", "lora_ga")
"""Values of `init_lora_weights` (or their beginnings) with which PEFT subtracts the initial adapter from W0."""

_SWITCH = "_disable_adapters"
"""The attribute that a layer of PEFT asks whether it is the base. `enable_adapters` sets it too, and goes through all
parameters besides, to freeze what nobody trains here: that takes .1 s for a model of 210 adapted layers."""

_REPLACED: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
"""Models in which loading an adapter replaced weights of the base, each with the reason in words."""


def is_adapted(model: nn.Module) -> bool:
    """Tell whether a model carries PEFT adapters, in a `PeftModel` or put there by transformers."""
    return isinstance(model, PeftModel) or any(isinstance(module, BaseTunerLayer) for module in model.modules())


def refuse_switched_off(model: nn.Module) -> None:
    """Refuse a model whose adapters are all switched off: it is its base, and any comparison with that finds nothing.

    Raises:
        InputError: they are.
    """
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if layers and all(layer.disable_adapters for layer in layers):
        raise InputError(
            "the adapters are switched off, so this model is its own base and nothing could be seen between the two; "
            "switch them on: model.enable_adapter_layers() of PEFT, or model.enable_adapters() of transformers."
        )


def root_of(model: nn.Module) -> nn.Module:
    """The transformers model inside a `PeftModel`, or the model itself."""
    root: nn.Module = model.get_base_model() if isinstance(model, PeftModel) else model
    return root


def note_replaced(model: nn.Module, reason: str) -> None:
    """Note that weights of a model's base were replaced, so that the model without its adapters is not its base.

    Args:
        model: a transformers model, with adapters or without.
        reason: names the weights and what replaced them.
    """
    _REPLACED[root_of(model)] = reason


@contextmanager
def base_view(model: nn.Module) -> Iterator[nn.Module]:
    """Let a model act as its base inside the context: all adapters and fully trained copies of modules are off.

    Afterwards the adapters are on or off, trainable or frozen, as they were, also after an exception. A model without
    adapters is left alone. `mutates_base` tells whether the base is still there at all.

    Args:
        model: a `PeftModel`, a transformers model with adapters of its own, or any other model.

    Yields:
        The same model.

    Raises:
        MergeError: adapters are merged; taking them out again is not exact for most methods.
    """
    modules = list(model.modules())
    switches = [m for m in modules if isinstance(m, (BaseTunerLayer, AuxiliaryTrainingWrapper))]
    if any(isinstance(m, BaseTunerLayer) and m.merged for m in switches):
        raise MergeError(
            "The adapters are merged, so the model cannot act as its base; call unmerge_adapter() first, or compare "
            "with a freshly loaded base."
        )
    with ExitStack() as undo:
        if isinstance(model, PeftModel) and not _layered(model):
            gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
            undo.callback(_give_back, gradients)  # runs last: PEFT sets these when it switches
            undo.enter_context(model.disable_adapter())  # prompts and the like, which only PEFT can switch
        for module in switches:
            undo.callback(setattr, module, _SWITCH, getattr(module, _SWITCH))
            setattr(module, _SWITCH, True)
        yield model


def _give_back(gradients: list[tuple[nn.Parameter, bool]]) -> None:
    for parameter, wanted in gradients:
        if parameter.requires_grad != wanted:
            parameter.requires_grad_(wanted)


def _layered(model: Any) -> bool:
    active = model.active_peft_config
    return not (active.is_prompt_learning or active.is_adaption_prompt)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, gradients as they are outside; every module's own mode is given back.

    Quantised weights keep their layout inside: in eval mode bitsandbytes would change it on some CPUs.
    """
    modes = {module: module.training for module in model.modules()}
    if any(modes.values()):
        model.eval()
    try:
        with storage_kept(model):
            yield
    finally:
        for module, training in modes.items():
            if module.training != training:
                module.training = training


def mutates_base(model: nn.Module) -> str | None:
    """The reason why the model without its adapters is not the base it was made from; None if it is.

    Args:
        model: any model, with PEFT adapters or without.

    Returns:
        A sentence with the adapter's name and the reason, or None.
    """
    configs = getattr(model, "peft_config", None)
    if not isinstance(configs, dict):
        return None
    if reason := _REPLACED.get(root_of(model)):
        return f"{reason}; load the base anew to compare with it."
    for name, config in configs.items():
        if reason := _mutation(config):
            return f"adapter {name!r}: {reason}; load the base anew to compare with it."
    return None


def _mutation(config: Any) -> str | None:
    initial = getattr(config, "init_lora_weights", None)
    if isinstance(initial, str) and initial.lower().startswith(_MUTATING):
        return f"init_lora_weights={initial!r} took the initial adapter out of the base weights"
    if getattr(config, "kasa_config", None) is not None:
        return "KaSA truncated the base weights"
    if getattr(config, "layer_replication", None):
        return "layer_replication changed the base's layers"
    if getattr(config, "bias", "none") not in ("none", None, False, True):
        return f"bias={config.bias!r} trains the base's biases, which stay when the adapter is off"
    return None
