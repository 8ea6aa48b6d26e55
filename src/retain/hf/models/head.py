"""The head of a classifier: its modules, its last layer, the inputs of that layer, and its files.

A new head is saved twice: as trained, inside the adapter or model; and as it was before, beside it, so that the base
can be measured again with the very head that it was compared with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.models.sides import root_of
from retain.records.files import write_bytes
from retain.records.reading import parse_json

BASE_HEAD = "retain_base_head.safetensors"
"""Beside an adapter or model: the head that the base was measured with, and the names of its classes."""


def head_names(model: nn.Module) -> list[str]:
    """The names of the modules outside the body that hold parameters; none for a model that is no classifier."""
    root = root_of(model)
    if not is_classifier(root):
        return []
    bodies = {str(getattr(root, "base_model_prefix", "")), "vision_model"}  # the latter of CLIP's and SigLIP's
    return [
        name for name, child in root.named_children() if name not in bodies and any(True for _ in child.parameters())
    ]


def is_classifier(model: nn.Module) -> bool:
    """Tell whether a model gives one logit a class for a text or an image."""
    return type(root_of(model)).__name__.endswith(("ForSequenceClassification", "ForImageClassification"))


def output_layer(model: nn.Module) -> nn.Linear:
    """The linear layer whose outputs are the classes' logits.

    Raises:
        InputError: there is none, so that no head can be fitted.
    """
    root: Any = root_of(model)
    layers = [
        module
        for name in head_names(root)
        for module in root.get_submodule(name).modules()
        if isinstance(module, nn.Linear) and module.out_features == root.config.num_labels
    ]
    if not layers:
        raise InputError(
            f"{type(root).__name__} has no linear output layer for its {root.config.num_labels} classes, so no head "
            "can be fitted on its features; say --head random."
        )
    return layers[-1]


@torch.no_grad()
def head_inputs(model: Any, batches: Iterable[Mapping[str, Tensor]]) -> Tensor:
    """Collect the inputs of the output layer: float32 (items, features). Eval mode is the caller's business.

    A decoder's head reads every position; the one that its logits come from is taken, the last that is no padding.
    """
    seen: list[Tensor] = []
    layer = output_layer(model)
    handle = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    rows = []
    try:
        for batch in batches:
            seen.clear()
            model(**batch)
            rows.append(_last(seen[-1], batch.get("attention_mask")).float().cpu())
    finally:
        handle.remove()
    return torch.cat(rows)


def _last(hidden: Tensor, mask: Tensor | None) -> Tensor:
    if hidden.ndim == 2:
        return hidden
    last = (
        torch.full((len(hidden),), hidden.shape[1] - 1) if mask is None else mask.shape[1] - 1 - mask.flip(1).argmax(1)
    )
    return hidden[torch.arange(len(hidden)), last.to(hidden.device)]


@torch.no_grad()
def set_output_layer(model: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Put weights (classes, features) and bias (classes,) into the output layer."""
    layer = output_layer(model)
    layer.weight.copy_(weight)
    if layer.bias is not None:
        layer.bias.copy_(bias)


@torch.no_grad()
def renew_output_layer(model: nn.Module) -> None:
    """Draw the output layer anew from torch's default generator, as transformers does where the classes changed."""
    layer = output_layer(model)
    layer.weight.normal_(std=float(getattr(root_of(model).config, "initializer_range", 0.02)))
    if layer.bias is not None:
        layer.bias.zero_()


def save_head(model: nn.Module, labels: Sequence[str], folder: Path) -> None:
    """Write the present head, with the names of its classes, beside an adapter or model."""
    tensors = {f"{name}.{key}": tensor.contiguous() for name, key, tensor in _state(model)}
    write_bytes(folder / BASE_HEAD, save(tensors, metadata={"labels": json.dumps(list(labels))}))


def saved_labels(folder: Path) -> list[str] | None:
    """The classes of a head that was saved beside an adapter or model; None where there is none."""
    path = folder / BASE_HEAD
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            return [str(label) for label in parse_json((file.metadata() or {})["labels"], str(path))]
    except (SafetensorError, OSError, InputError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged head file ({error}).") from error


@torch.no_grad()
def restore_head(model: nn.Module, folder: Path) -> None:
    """Give a model the head that was saved in a folder.

    Raises:
        InputError: the head does not fit.
    """
    path = folder / BASE_HEAD
    try:
        with safe_open(str(path), framework="pt") as file:
            for name, key, tensor in _state(model):
                tensor.copy_(file.get_tensor(f"{name}.{key}"))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: this head does not fit the model: {error}") from error


def _state(model: nn.Module) -> list[tuple[str, str, Tensor]]:
    """The head's tensors under the names that they have in the base; of a head that PEFT trains, the original."""
    root = root_of(model)
    return [
        (name, key.replace("original_module.", "").replace("base_layer.", ""), tensor)
        for name in head_names(root)
        for key, tensor in root.get_submodule(name).state_dict().items()
        if "modules_to_save." not in key
    ]
