"""Positions of a model: how many tokens it can read at once, and how many it was trained to read.

A table of position embeddings has an end, and a longer sequence fails there. Some of its rows are no positions:
RoBERTa, XLM-R, CamemBERT, MPNet and Longformer count from the row after their padding token's, OPT, BART and BioGPT
from the third. Rotary and relative positions have no end; `max_position_embeddings` is then the length in training.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from retain.hf.models.sides import root_of

_TABLE = re.compile(r"(^|\.)(wpe|positions?_embed|embed_positions?|position(al)?_embeddings?|pos_encoding|pos_embed)$")
_OF_IMAGES = re.compile(r"(^|[._])(vision|visual|image|audio|speech|video)")


@dataclass(frozen=True)
class Positions:
    """The positions of a model of text.

    Attributes:
        limit: tokens beyond which it fails; None where it never does.
        trained: tokens of the longest sequence in its training, where only its configuration tells; a longer one runs.
    """

    limit: int | None = None
    trained: int | None = None

    def without(self, tokens: int) -> Positions:
        """The positions that are left beside so many virtual tokens of an adapter."""
        return self if self.limit is None else replace(self, limit=self.limit - tokens)

    def shared_with(self, other: Positions) -> Positions:
        """The positions that two models both have."""
        return Positions(_smaller(self.limit, other.limit), _smaller(self.trained, other.trained))


UNLIMITED = Positions()
"""No limit is known, or there is none."""


def positions_of(model: nn.Module) -> Positions:
    """The positions of a model that reads text, those that its adapter's virtual tokens take not counted.

    Args:
        model: any transformers model, also one without weights (on the meta device), or a `PeftModel` around one.
    """
    root: Any = root_of(model)
    config: Any = getattr(root, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    stated = getattr(config, "max_position_embeddings", None)
    tables = list(_tables(root))
    if getattr(config, "model_type", "") == "mpt":  # its ALiBi is made for this length and no longer one
        tables.append(int(config.max_seq_len))
    if not tables:
        return Positions(trained=stated)
    limit = min([*tables, *([stated] if isinstance(stated, int) and stated > 0 else [])])
    return Positions(limit=limit).without(virtual_tokens(_config_of(model)))


def virtual_tokens(adapter: Mapping[str, Any]) -> int:
    """The tokens that an adapter puts before every text (prompt tuning, prefix tuning, P-tuning); 0 for most.

    Args:
        adapter: its configuration, as in `adapter_config.json`, or the fields of a recipe's method.
    """
    number = adapter.get("num_virtual_tokens")
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def _tables(root: nn.Module) -> Iterator[int]:
    """The number of positions that each table of positions of text holds."""
    for name, module in root.named_modules():
        plain = re.sub(r"\.(base_layer|original_module)$", "", name)
        if isinstance(module, nn.Embedding) and _TABLE.search(plain) and not _OF_IMAGES.search(plain):
            before_first = module.padding_idx + 1 if module.padding_idx is not None else getattr(module, "offset", 0)
            yield module.num_embeddings - before_first
    for name, tensor in _tensors(root):
        if tensor.ndim == 2 and _TABLE.search(name) and not _OF_IMAGES.search(name):  # GPT-J, CodeGen, CTRL
            yield len(tensor)


def _tensors(root: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from root.named_buffers()
    yield from root.named_parameters()


def _config_of(model: nn.Module) -> dict[str, Any]:
    return dict(model.active_peft_config.to_dict()) if isinstance(model, PeftModel) else {}


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)
