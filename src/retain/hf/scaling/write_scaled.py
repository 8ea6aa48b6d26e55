"""Write an update at α: an adapter of its own method, or a whole model. The folder is complete, or as it was."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import CONFIG_NAME
from torch import Tensor, nn

from retain.errors import InputError, MergeError
from retain.hf.adapters.residual_lora import residual_layers
from retain.hf.adapters.save import save_weights
from retain.hf.models.sides import is_adapted, root_of
from retain.hf.scaling.merged_values import merged_values, outermost_parts
from retain.hf.scaling.parts import Alpha, Factor, alphas, check_scalable, factors, keeps_its_form, parts
from retain.hf.scaling.scaled import hold, scaled
from retain.hf.tuners.base_weight import quantization_backend
from retain.records.files import new_folder
from retain.records.paths import expanded


def write_at(
    model: Any, alpha: Alpha, folder: str | Path, *, adapter_name: str = "default", base: nn.Module | None = None
) -> Path:
    """Write an ordinary adapter, of the same method and configuration, whose update is α times the trained one.

    Its factor is multiplied by α and rounded to the dtype that it has, so it does to the bit what the model does inside
    `scaled` (at 0 up to the sign of zeros). Modules trained in full are written interpolated. An SC-LoRA is written as
    the LoRA of rank 2r that it always is in files; at α ≤ 0 without the note by which retain trains it on.

    Args:
        model: a `PeftModel`; or a model that was trained in full, which is written whole.
        alpha: as for `scaled`.
        folder: where to write; an adapter (or model) that retain wrote there is replaced.
        adapter_name: which adapter, active or not.
        base: the model that a fully trained one came from.

    Returns:
        The folder.

    Raises:
        InputError: the adapter at α is not of its own form (`keeps_its_form`), there is no such adapter, the folder
            holds something else, or as for `scaled`.
        MergeError: adapters are merged.
    """
    if base is not None:
        with new_folder(Path(folder)) as place, scaled(model, alpha, base=base):
            save_weights(model, place)
        return _absolute(folder)
    _check_peft(model, adapter_name)
    if reason := keeps_its_form(model, adapter_name):
        raise InputError(reason)
    changed = [(name, factors(module, [adapter_name]) or []) for name, module in parts(model)]
    table = alphas([name for name, held in changed if held], alpha)
    seen: set[int] = set()
    with new_folder(Path(folder)) as place, ExitStack() as undo:
        for name, held in changed:
            for factor in held:
                if table[name] != 1:
                    hold(undo, factor, table[name], seen)
        residuals = [name for name, _ in changed if name in residual_layers(root_of(model), adapter_name)]
        if any(table[name] <= 0 for name in residuals):
            config = model.peft_config[adapter_name]
            undo.callback(setattr, config, "initialisation_note", config.initialisation_note)
            config.initialisation_note = None
        save_weights(model, place, adapter_name=adapter_name)
        _lift(place, adapter_name)
    return _absolute(folder)


def merged_at(model: Any, alpha: Alpha, folder: str | Path, *, base: nn.Module | None = None) -> Path:
    """Write a whole model W0 + α(W_eff − W0), for every method that can be merged; the model given is not touched.

    Each layer is merged in a float32 copy and rounded once. The whole model is copied for it, so it is held twice.

    Args:
        model: a `PeftModel`; or a model that was trained in full.
        alpha: as for `scaled`.
        folder: where to write; a model that retain wrote there is replaced.
        base: the model that a fully trained one came from.

    Returns:
        The folder.

    Raises:
        InputError: the base is quantised, a layer cannot be merged, or as for `write_at`.
        MergeError: adapters are merged, or a changed weight is shared with a layer that must keep it.
    """
    if base is not None:
        return write_at(model, alpha, folder, base=base)
    _check_peft(model, None)
    changed = parts(model)
    table = alphas([name for name, _ in changed], alpha)
    if packed := [name for name, module in changed if _packed(root_of(model), module)]:
        raise InputError(
            f"{packed[0]}: the base is quantised, so a merged model would have to be quantised anew and would not be "
            "this one; write an adapter with write_at, or put the adapter on the unquantised base."
        )
    merged = copy.deepcopy(model).unload()
    with torch.no_grad():
        for name, module in outermost_parts(model):
            target = merged.get_submodule(name)
            for key, before, after in merged_values(model, name, module):
                _check_own(merged, name, place := target.get_parameter(key))
                place.copy_(Factor(after, before).at(table[name]))
    with new_folder(Path(folder)) as temporary:
        save_weights(merged, temporary)
    return _absolute(folder)


def adapter_to_write(model: nn.Module) -> str:
    """The adapter that a folder can hold of a model: the one that is active. Asked before much is done.

    Args:
        model: with adapters, or without any, which is written whole.

    Raises:
        InputError: transformers put the adapters there, or several are active together.
    """
    if not is_adapted(model):
        return "default"
    if not isinstance(model, PeftModel):
        raise InputError(_OF_TRANSFORMERS)
    active = list(model.active_adapters)
    if len(active) != 1:
        raise InputError(
            f"the adapters {' and '.join(active) or '(none)'} are active, and a folder holds one: leave one active by "
            "model.set_adapter, or make one of several with model.add_weighted_adapter."
        )
    return str(active[0])


_OF_TRANSFORMERS = (
    "the adapters were put there by transformers (model.add_adapter), and only PEFT's own model is written: make it "
    "with peft.get_peft_model; or give no folder, and save the scaled model with model.save_pretrained."
)


def _absolute(folder: str | Path) -> Path:
    return expanded(folder).absolute()


def _check_peft(model: Any, adapter: str | None) -> None:
    check_scalable(model)
    if not isinstance(model, PeftModel):
        raise InputError(_OF_TRANSFORMERS)
    if adapter is not None and adapter not in model.peft_config:
        raise InputError(f"there is no adapter {adapter!r}; there are {', '.join(model.peft_config)}.")


def _lift(place: Path, adapter: str) -> None:
    """PEFT writes an adapter that is not named default into a folder of its name."""
    inner = place / adapter
    if (inner / str(CONFIG_NAME)).is_file():
        for path in inner.iterdir():
            path.replace(place / path.name)
        inner.rmdir()


def _packed(model: nn.Module, module: Any) -> bool:
    """Tell whether a layer's base is quantised."""
    return isinstance(module, BaseTunerLayer) and quantization_backend(module.get_base_layer(), model) is not None


def _check_own(merged: nn.Module, name: str, parameter: Tensor) -> None:
    others = [key for key, p in merged.named_parameters(remove_duplicate=False) if p is parameter]
    if len(others) > 1:
        raise MergeError(
            f"{name} shares its weight ({' and '.join(others)}); merging would change both. Untie it first: give it a "
            "copy of its weight and set model.config.tie_word_embeddings = False."
        )
