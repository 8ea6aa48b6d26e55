"""Give an adapter in a model the values of another one of the same shape, as fast as its file can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from retain.errors import InputError, MergeError
from retain.hf.adapters.folder import value_fault
from retain.hf.adapters.residual_lora import residual_layers
from retain.hf.models.given import unwrapped
from retain.hf.models.sides import root_of
from retain.records.paths import expanded
from retain.records.reading import read_json_mapping


@torch.no_grad()
def swap_adapter(model: nn.Module, folder: str | Path, adapter_name: str = "default") -> None:
    """Copy the values of a saved adapter into one of the same method and shape that the model already has.

    PEFT's `load_adapter` makes a new adapter and walks through the model several times for it; here numbers are copied
    into the place of others, so that a server of many small adapters can change them between requests. All or
    nothing: everything is compared before anything is written.

    Args:
        model: a `PeftModel`.
        folder: an adapter that was saved with `save_pretrained` (safetensors).
        adapter_name: which of the model's adapters takes the values.

    Raises:
        InputError: the folder holds no adapter, or one of another method, scale or shape.
        MergeError: the adapter is merged into the base.

    Examples:
        >>> serving = retain.load_adapter(base, "runs/first/adapter")
        >>> retain.swap_adapter(serving, "runs/vefa/adapter")
    """
    model, place = unwrapped(model), expanded(folder)
    config = getattr(model, "peft_config", {}).get(adapter_name)
    if config is None:
        raise InputError(
            f"the model has no adapter {adapter_name!r}; it has "
            f"{', '.join(getattr(model, 'peft_config', {})) or 'none'}."
        )
    values = _read(place)
    _check_alike(place, config)
    if any(isinstance(module, BaseTunerLayer) and module.merged for module in model.modules()):
        raise MergeError("The adapters are merged; call unmerge_adapter() before their values are changed.")
    if residual_layers(root_of(model), adapter_name):
        raise InputError(
            "an adapter with a data-driven initialisation cannot be swapped while it trains; use retain.load_adapter."
        )
    there = _tensors(model, adapter_name)
    odd = sorted({*there} ^ {*values}) or [
        name
        for name, tensor in there.items()
        if tensor.shape != values[name].shape or tensor.is_floating_point() != values[name].is_floating_point()
    ]
    if odd:
        raise InputError(f"{place}: it is no adapter of the same shape: {odd[0]} and {len(odd) - 1} more differ.")
    for name, tensor in there.items():
        tensor.copy_(values[name])


def _read(place: Path) -> dict[str, Tensor]:
    path = place / str(SAFETENSORS_WEIGHTS_NAME)
    try:
        values = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{place}: no adapter can be read there ({error}); give a folder that save_pretrained wrote."
        ) from error
    if faults := [f"{path}: {name} {fault}." for name, tensor in values.items() if (fault := value_fault(tensor))]:
        raise InputError(faults[:3])
    return values


def _check_alike(place: Path, config: Any) -> None:
    """Refuse a configuration under which the same values have another effect."""
    try:
        other = read_json_mapping(place / CONFIG_NAME)
    except InputError as error:
        raise InputError(f"{place}: its {CONFIG_NAME} cannot be read ({error}).") from error
    mine = json.loads(json.dumps(config.to_dict(), default=_listed))
    changed = sorted(key for key in mine.keys() & other.keys() if not _is_free(key) and mine[key] != other[key])
    if changed:
        differences = "; ".join(f"{key} is {other.get(key)!r} there and {mine.get(key)!r} here" for key in changed[:3])
        raise InputError(f"{place}: it is another kind of adapter: {differences}. Load it with retain.load_adapter.")


_FREE = frozenset(
    {
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "task_type",
        "auto_mapping",
        "peft_version",
        "target_modules",
        "exclude_modules",
        "init_lora_weights",
        "layers_to_transform",
    }
)
"""Fields of a configuration that have no part in the effect of its values, or that the tensors' names tell anyway."""


def _is_free(field: str) -> bool:
    return field in _FREE or field.endswith("_dropout")  # dropout acts in training alone


def _listed(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else str(value)


def _tensors(model: nn.Module, adapter: str) -> dict[str, Tensor]:
    """An adapter's tensors by the names that they have in its file."""
    mark = f".{adapter}."
    named = ((name + ".", tensor) for name, tensor in model.state_dict(keep_vars=True).items() if mark in name + ".")
    return {name.replace(mark, ".", 1).removesuffix("."): tensor.data for name, tensor in named}
