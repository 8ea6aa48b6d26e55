"""Inference: eval mode without gradients, the device of inputs, the padding token of batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from retain.hf.models.sides import eval_mode

_EVALUATED: ContextVar[tuple[torch.nn.Module, ...]] = ContextVar("_EVALUATED", default=())
"""The models that are evaluated at the moment."""


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; every module's own train or eval mode is given back afterwards.

    Around a loop it goes through the model's modules once, and not again for every batch: inside it, the same model's
    mode is known.
    """
    before = _EVALUATED.get()
    if any(model is one for one in before):
        with torch.no_grad():
            yield
        return
    with torch.no_grad(), eval_mode(model):
        token = _EVALUATED.set((*before, model))
        try:
            yield
        finally:
            _EVALUATED.reset(token)


def device_of(model: torch.nn.Module) -> torch.device:
    """The device that inputs go to: that of the first parameter which holds data."""
    return next((p.device for p in model.parameters() if p.device.type != "meta"), torch.device("cpu"))


def padding_id(tokenizer: Any) -> int:
    """The token that fills up batches; it is masked everywhere, so any will do."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0
