"""A LoRA as it was exported and loaded again: cut to a smaller rank for a trial, or given a file's rounded values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn


@contextmanager
def cut_to_rank(model: nn.Module, rank: int) -> Iterator[None]:
    """Let the first so many directions of a LoRA act alone, inside."""
    kept: list[tuple[Any, Tensor]] = []
    try:
        for layer in _layers(model):
            up = layer.lora_B["default"].weight
            kept.append((up, up.data))
            up.data = torch.cat([up.data[:, :rank], torch.zeros_like(up.data[:, rank:])], dim=1)
        yield
    finally:
        for up, data in kept:
            up.data = data


@torch.no_grad()
def set_lora_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a loaded LoRA other values, by the names that its file has."""
    places = {
        name.replace(".default.weight", ".weight"): parameter
        for name, parameter in model.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    }
    for name, value in tensors.items():
        places[name].copy_(value.to(places[name]))


def _layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, LoraLayer) and "default" in module.lora_B]
