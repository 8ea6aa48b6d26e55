"""The size of a language model's vocabulary, in the model and in an adapter's file, and how a model is given more rows.

Rows are counted in the embeddings; a tokenizer may have fewer tokens, for many models pad their embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from retain.hf.models.sides import root_of


class HasShape(Protocol):
    """Anything that tells the shape of a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes."""


def embeddings_of(model: nn.Module) -> list[Any]:
    """The input embeddings and the output head of a language model, as far as it has them."""
    root: Any = root_of(model)
    found = []
    for get in ("get_input_embeddings", "get_output_embeddings"):
        try:
            found.append(getattr(root, get)())
        except (AttributeError, NotImplementedError):  # a model of another kind
            continue
    return [module for module in found if getattr(module, "weight", None) is not None and module.weight.ndim == 2]


def rows_of(model: nn.Module) -> int | None:
    """The number of rows of a model's input embeddings; None for a model without a vocabulary."""
    return next((len(module.weight) for module in embeddings_of(model)[:1]), None)


def rows_in_file(model: nn.Module, stored: Mapping[str, HasShape]) -> int | None:
    """The number of tokens for which an adapter's file brings embeddings, an output head, or a LoRA of one of them.

    Args:
        model: the base.
        stored: the tensors of the file by name.

    Returns:
        None where it brings none.
    """
    root = root_of(model)
    vocabulary = embeddings_of(root)
    names = [name for name, module in root.named_modules() if any(module is one for one in vocabulary)]
    for name in names:
        for key, tensor in stored.items():
            inside, _, part = key.rpartition(".")
            beginning = f"base_model.model.{name}"
            if inside in {beginning, f"{beginning}.base_layer"} and part == "weight" and len(tensor.shape) == 2:
                return tensor.shape[0]
            if key == f"{beginning}.lora_embedding_A":
                return tensor.shape[1]
            if key == f"{beginning}.lora_B.weight":
                return tensor.shape[0]
    return None


@torch.no_grad()
def give_rows(model: Any, rows: int) -> None:
    """Give a language model embeddings for so many tokens; each new row is the mean of those that were there.

    Args:
        model: without adapters.
        rows: of its embeddings and its head.
    """
    before = rows_of(model) or 0
    model.resize_token_embeddings(rows, mean_resizing=False)
    for module in embeddings_of(model):
        if len(module.weight) > before:
            module.weight[before:] = module.weight[:before].float().mean(dim=0).to(module.weight.dtype)
            if getattr(module, "bias", None) is not None:
                module.bias[before:] = module.bias[:before].mean()
