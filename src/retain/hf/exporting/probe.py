"""Inputs that any model of transformers takes, to try it out where no data are at hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retain.hf.models.inference import device_of
from retain.hf.models.sides import root_of

_ROWS, _TOKENS = 2, 24


def probe_inputs(model: Any) -> dict[str, Tensor]:
    """A small batch of random tokens, or of noise for a model that reads images; the same at each call."""
    root: Any = root_of(model)
    draw = torch.Generator().manual_seed(0)
    device = device_of(root)
    if root.main_input_name == "pixel_values":
        size = root.config.image_size
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        pixels = (_ROWS, int(getattr(root.config, "num_channels", 3)), height, width)
        return {"pixel_values": torch.randn(pixels, generator=draw).to(device, root.dtype)}
    text = root.config.get_text_config()
    longest = getattr(text, "max_position_embeddings", None) or _TOKENS
    first = min(4, int(text.vocab_size) - 1)
    shape = (_ROWS, min(_TOKENS, int(longest)))
    ids = torch.randint(first, int(text.vocab_size), shape, generator=draw).to(device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def outputs_of(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """The logits that a model gives, or its last hidden states, without a cache."""
    root: Any = root_of(model)
    more = {"use_cache": False} if getattr(root, "can_generate", lambda: False)() else {}
    found = model(**inputs, **more)
    logits: Tensor | None = getattr(found, "logits", None)
    return found.last_hidden_state if logits is None else logits
