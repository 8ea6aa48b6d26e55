"""Attach a LoRA with given factors A0, B0, and load it again: stock PEFT adapters of rank 2r with a note beside them.

The note, `retain_initialisation.json`, marks such an adapter and says where A0 and B0 came from. Software that does not
know the note (stock PEFT, a server) sees an ordinary LoRA of rank 2r; retain goes on training A and B.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import align_module_device  # type: ignore[import-untyped]  # accelerate ships no types
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.adapters.residual_lora import ResidualDown, ResidualUp, make_residual, residual_layers
from retain.hf.adapters.residual_tuner import watch_additions
from retain.hf.models.sides import root_of
from retain.hf.tuners.adapter_name import check_adapter_name
from retain.hf.tuners.base_weight import Original, at_least_float32, quantization_backend
from retain.records.files import write_text
from retain.records.paths import expanded
from retain.records.reading import read_json_mapping

NOTE = "retain_initialisation.json"
"""The note's name, beside the adapter's own files."""

NOTE_SCHEMA = "retain.initialisation/1"

InitialFactors = Mapping[str, tuple[Tensor, Tensor]]
"""A0 (r, n) and B0 (m, r) by layer."""


@dataclass
class InitialisedLoraConfig(LoraConfig):  # type: ignore[misc]  # PEFT ships no types
    """PEFT's configuration of the LoRA of rank 2r that such an adapter is.

    It differs from a `LoraConfig` in one thing: it writes the note beside itself. The note is no field, so stock PEFT
    knows every field of the file.
    """

    def __post_init__(self) -> None:
        """Check as PEFT does."""
        super().__post_init__()
        self.initialisation_note: dict[str, Any] | None = None

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Write `adapter_config.json`, and the note where there is one."""
        super().save_pretrained(save_directory, **kwargs)
        path = Path(save_directory) / NOTE
        if self.initialisation_note is not None:
            write_text(path, json.dumps(self.initialisation_note, indent=1) + "\n")
        else:
            path.unlink(missing_ok=True)


def attach_initialised(
    model: nn.Module, fields: dict[str, Any], factors: InitialFactors, note: dict[str, Any], adapter: str = "default"
) -> PeftModel:
    """Attach an adapter y = W0 x + s·(B A − B0 A0) x to a model; its base weights are not touched.

    Args:
        model: the base; or a `PeftModel` of LoRA adapters, to which this one is added.
        fields: of `LoraConfig`, with the r and `lora_alpha` that the user means.
        factors: A0 (r, n) and B0 (m, r) by the layers' names in the base.
        note: what is written beside the adapter.
        adapter: its name.

    Returns:
        The model with the adapter, active and ready to train.

    Raises:
        InputError: as `check_free`.
    """
    check_free(model, adapter)
    doubled = {**fields, "r": 2 * fields["r"], "lora_alpha": 2 * fields["lora_alpha"], "init_lora_weights": True}
    config = InitialisedLoraConfig(**doubled)
    undo = _Undo(model)
    if isinstance(model, PeftModel):
        model.add_adapter(adapter, config)
        model.set_adapter(adapter)
        adapted = model
    else:
        adapted = get_peft_model(model, config, adapter_name=adapter)
    try:
        for key, layer in _layers(adapted, adapter).items():
            A0, B0 = factors[key]
            make_residual(layer, adapter, (A0, None), (B0, None))
    except BaseException:
        undo(adapted, adapter)
        raise
    marks = {key: _mark(B0) for key, (_, B0) in factors.items()}
    adapted.peft_config[adapter].initialisation_note = note | {"B0_marks": marks}
    watch_additions(adapted, adapter)
    return adapted


def check_free(model: nn.Module, adapter: str) -> None:
    """Refuse an adapter name that is taken, and a model on which this adapter cannot stand.

    Raises:
        AdapterError: no adapter can have that name.
        InputError: there is one already, or one beside it that is no LoRA.
    """
    check_adapter_name(adapter)
    present = getattr(model, "peft_config", {})
    if adapter in present:
        raise InputError(f"there is an adapter {adapter!r} already; give another adapter_name.")
    if odd := [name for name, other in present.items() if not isinstance(other, LoraConfig)]:
        raise InputError(f"adapter {odd[0]!r} is no LoRA; PEFT lets only LoRAs stand beside this one.")


class _Undo:
    """The state of a model before an adapter was attached, to be restored: active adapters and trainable parameters."""

    def __init__(self, model: nn.Module) -> None:
        self._trains = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self._active = (model.active_adapter, model.active_adapters) if isinstance(model, PeftModel) else None

    def __call__(self, adapted: PeftModel, adapter: str) -> None:
        if self._active is None:
            adapted.unload()
        else:
            adapted.active_adapter, active = self._active
            adapted.base_model.set_adapter(active)
            adapted.delete_adapter(adapter)
        for parameter, trains in self._trains:
            parameter.requires_grad_(trains)


def _layers(model: nn.Module, adapter: str) -> dict[str, Any]:
    return {
        key: module
        for key, module in root_of(model).named_modules()
        if isinstance(module, LoraLayer) and adapter in module.lora_A
    }


@dataclass
class _Bare:
    base_layer: nn.Module
    quantization_backend: Any


def weight_of(base: nn.Module, model: nn.Module) -> tuple[Tensor, Tensor | None]:
    """W0 (m, n) and the bias in float32 or better; dequantised where they are quantised, fetched where offloaded."""
    with align_module_device(base):
        W0 = at_least_float32(Original(_Bare(base, quantization_backend(base, model))).matrix().detach())
        bias = getattr(base, "bias", None)
        return W0, None if bias is None else at_least_float32(bias.detach())


def restore_initialised(model: PeftModel, adapter: str, note: dict[str, Any]) -> None:
    """Turn a LoRA of rank 2r, as it was loaded, back into one that trains on from A0 and B0; its function stays.

    Raises:
        InputError: the note is of another adapter, one that was in the folder before.
    """
    restored = copy.copy(model.peft_config[adapter])
    if not _is_of(note, model, adapter):
        raise InputError(
            f"{NOTE} is of another adapter than the one beside it; remove it to load this one without, as PEFT does."
        )
    restored.__class__ = InitialisedLoraConfig
    restored.initialisation_note = note
    for layer in _layers(model, adapter).values():
        down, up = (_fetched(part[adapter]) for part in (layer.lora_A, layer.lora_B))
        make_residual(layer, adapter, ResidualDown.parted(down), ResidualUp.parted(up))
    model.peft_config[adapter] = restored
    watch_additions(model, adapter)


def _mark(B0: Tensor) -> float:
    """One number by which a B0 (m, r) is known again: its mean product with a fixed wave, in units of its size."""
    flat = B0.detach().double().flatten().cpu()
    wave = torch.cos(torch.arange(len(flat), dtype=torch.float64) ** 1.5)
    return float(flat @ wave / flat.norm().clamp_min(torch.finfo(torch.float64).tiny))


def _is_of(note: Mapping[str, Any], model: PeftModel, adapter: str) -> bool:
    """Tell whether an adapter has an even rank and, in every layer, the B0 that the note marks."""
    layers, marks = _layers(model, adapter), note.get("B0_marks")
    if not isinstance(marks, dict) or marks.keys() != layers.keys():
        return False
    for key, layer in layers.items():
        up = _fetched(layer.lora_B[adapter])
        if up.shape[1] % 2 or not math.isclose(_mark(ResidualUp.parted(up)[0]), marks[key], abs_tol=1e-2):
            return False
    return True


def _fetched(part: Any) -> Tensor:
    with align_module_device(part):
        weight: Tensor = part.weight.detach()
        return weight


def read_note(source: str | Path) -> dict[str, Any] | None:
    """The note beside an adapter in a folder or a hub repository; None where there is none."""
    path = expanded(source) / NOTE
    if not path.parent.is_dir():
        try:
            path = Path(hf_hub_download(str(source), NOTE))
        except (EntryNotFoundError, HFValidationError):  # there is none, or this is no repository at all
            return None
        except (OSError, HfHubHTTPError) as error:
            raise InputError(
                f"{source}: it could not be read whether {NOTE} lies beside this adapter ({error})."
            ) from error
    if not path.is_file():
        return None
    cure = "remove it to load the adapter as an ordinary LoRA."
    try:
        note = read_json_mapping(path)
    except InputError as error:
        raise InputError(f"{error} It is damaged; {cure}") from error
    if damaged := [name for name, holds in _HELD.items() if name in note and not holds(note[name])]:
        raise InputError(f"{path}: damaged (its {', '.join(damaged)} is no such thing); {cure}")
    return note


def _is_table_of_tables(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())


def _is_table_of_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, (int, float)) for one in value.values())


_HELD: dict[str, Callable[[Any], bool]] = {
    "B0_marks": _is_table_of_numbers,
    "config": lambda value: isinstance(value, dict),
    "data": lambda value: (
        _is_table_of_tables(value)
        and all(isinstance(one.get("tokens"), int) and isinstance(one.get("data_hash"), str) for one in value.values())
    ),
    "layers": lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
    "findings": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "model_hash": lambda value: isinstance(value, str),
}
"""The fields of a note, each with what it must be where it is there."""


def note_of(model: nn.Module, adapter: str = "default") -> Mapping[str, Any] | None:
    """The note on an adapter's initialisation: configuration, data, a row a layer. None for adapters of other kinds."""
    config = getattr(model, "peft_config", {}).get(adapter)
    return getattr(config, "initialisation_note", None) if residual_layers(model, adapter) else None
