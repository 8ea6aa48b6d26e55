"""Identity of a model: a hash of its base weights, its sizes, and its adapter's configuration as JSON values."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper

from retain.hf.models.sides import root_of
from retain.hf.tuners.storage import as_stored, storage_parts

_WRAPPERS = re.compile(r"(\.base_layer|\.original_module|\.token_adapter)+\.")
"""What PEFT puts into the name of a base tensor, once for each adapter over its module."""


def model_hash(model: torch.nn.Module) -> str:
    """SHA-256 over names, shapes, dtypes and bits of the base weights; an adapter on top does not change it.

    Weights shared by several names count once under each name. Weights without data here (meta device, offloaded) enter
    by name, shape and dtype alone. 4-bit weights of bitsandbytes enter by their codes and scales, however those are
    laid out.
    """
    digest = hashlib.sha256()
    for name, tensors in _parts_by_name(model):
        shape, dtype = (tuple(tensors[0].shape), tensors[0].dtype) if len(tensors) == 1 else ((), "codes")
        digest.update(f"{name} {shape} {dtype}".encode())
        for part in (part for tensor in tensors for part in _plain_parts(tensor.detach())):
            if part.device.type != "meta":
                flat = part.to("cpu").contiguous().reshape(-1)
                digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()


def _parts_by_name(model: torch.nn.Module) -> list[tuple[str, list[torch.Tensor]]]:
    """The base's weights by name, each as the tensors that it is made of."""
    coded = {}
    for name, module in root_of(model).named_modules():
        if (parts := storage_parts(module)) is not None:
            as_stored(module)  # else its library does, as the weights are read, and quantises the scales anew
            coded[_WRAPPERS.sub(".", f"{name}.") + "weight"] = parts
    plain = [
        (name, [tensor])
        for name, tensor in base_tensors(model)
        if name.partition(".weight.")[0].removesuffix(".weight") + ".weight" not in coded
    ]
    return sorted([*plain, *coded.items()], key=lambda one: one[0])


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """Number of trainable parameters, and of all parameters, the adapter's included."""
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trainable in counts if trainable), sum(n for n, _ in counts)


def changed_size(model: torch.nn.Module) -> tuple[int, int]:
    """Number and bytes of the parameters that carry the change: the adapter's, or all of a fully trained model."""
    own = carrying_parameters(model)
    return sum(p.numel() for p in own), sum(p.numel() * p.element_size() for p in own)


def carrying_parameters(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that carry the change: the adapter's, or all of a fully trained model."""
    base = {tensor.data_ptr() for _, tensor in base_tensors(model)} if _active_config(model) is not None else set()
    return [p for p in model.parameters() if p.data_ptr() not in base]


def adapter_config(model: torch.nn.Module) -> dict[str, Any]:
    """The active adapter's PEFT configuration as JSON values; empty for a model without an adapter.

    Of a data-driven initialisation, the configured rank and alpha, and the data that it was computed from.
    """
    config = _active_config(model)
    if config is None:
        return {}
    own: dict[str, Any] = {k: _plain(v) for k, v in config.to_dict().items() if v is not None}
    if chosen_by := getattr(config, "selection", None):  # a sparse update: by a score of ours, and not by size
        return {k: v for k, v in own.items() if k != "select_top"} | dict(chosen_by)
    note = getattr(config, "initialisation_note", None)
    if note is None:
        return own
    chosen = {k: v for k, v in note.get("config", {}).items() if v is not None}
    chosen.setdefault("lora_alpha", chosen.get("r", own["lora_alpha"]))  # the scale is 1, in what is saved as well
    data = {f"{name}_tokens": part["tokens"] for name, part in note.get("data", {}).items()}
    data |= {f"{name}_data": part["data_hash"][:8] for name, part in note.get("data", {}).items()}
    return own | {"saved_r": own["r"], "saved_alpha": own["lora_alpha"]} | chosen | data


def adapter_kind(model: torch.nn.Module) -> str | None:
    """The active adapter's PEFT type in lower case; None for a model without an adapter."""
    config = _active_config(model)
    return None if config is None else str(getattr(config.peft_type, "value", config.peft_type)).lower()


def prepends_tokens(model: torch.nn.Module) -> bool:
    """Tell whether an adapter puts virtual tokens before the input, so that logits are longer than the text."""
    config = _active_config(model)
    return bool(config is not None and config.is_prompt_learning)


def _active_config(model: torch.nn.Module) -> Any:
    """The configuration of a `PeftModel`'s active adapter, or of one that transformers' own `add_adapter` put on."""
    if isinstance(model, PeftModel):
        return model.active_peft_config
    configs = getattr(model, "peft_config", None)
    return next(iter(configs.values()), None) if isinstance(configs, dict) else None


def base_tensors(model: torch.nn.Module, *, plain: bool = True) -> list[tuple[str, torch.Tensor]]:
    """The weights of a model's base, without those of adapters and of copies that are trained in full.

    Args:
        model: with adapters or without.
        plain: give the names that the weights have without adapters.
    """
    root = model.get_base_model() if isinstance(model, PeftModel) else model
    hidden: list[str] = []
    for name, module in root.named_modules():
        if isinstance(module, BaseTunerLayer):
            hidden += [f"{name}.{part}." for part, _ in module.named_children() if part != "base_layer"]
        if isinstance(module, ModulesToSaveWrapper):
            hidden.append(f"{name}.modules_to_save.")
    return [
        (_WRAPPERS.sub(".", name) if plain else name, tensor)
        for name, tensor in root.state_dict().items()
        if not any(name.startswith(prefix) for prefix in hidden)
    ]


def _plain_parts(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors that a quantised one (torchao's) is made of; a plain tensor itself."""
    if type(tensor) in (torch.Tensor, torch.nn.Parameter) or not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    return [part for name in names for part in _plain_parts(getattr(tensor, name))]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def vocabulary_of(model: torch.nn.Module) -> int:
    """The number of tokens that a language model chooses among, as its configuration states it."""
    root: Any = root_of(model)
    return int(root.config.get_text_config().vocab_size)
