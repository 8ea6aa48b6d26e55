"""Inference: eval mode without gradients, the head's inputs, the device of inputs, the padding token of batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from retain.hf.models.lm_head import head_of
from retain.hf.models.sides import eval_mode

_EVALUATED: ContextVar[tuple[torch.nn.Module, ...]] = ContextVar("_EVALUATED", default=())
"""The models that are evaluated at the moment."""


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; every module's own train or eval mode is given back afterwards.

    The head reads its inputs in one piece, see `_in_one_piece`.

    Around a loop it goes through the model's modules once, and not again for every batch: inside it, the same model's
    mode is known.
    """
    before = _EVALUATED.get()
    if any(model is one for one in before):
        with torch.no_grad():
            yield
        return
    with torch.no_grad(), eval_mode(model), _in_one_piece(model):
        token = _EVALUATED.set((*before, model))
        try:
            yield
        finally:
            _EVALUATED.reset(token)


@contextmanager
def _in_one_piece(model: torch.nn.Module) -> Iterator[None]:
    """Let the head of a language model read contiguous inputs inside.

    Of a prompt only the last state (n, 1, d), a slice, is multiplied with the head's frozen weight (V, d). On a CPU
    torch multiplies a batch of slices one by one, each with a copy of the weight: for 60 prompts and SmolLM2's head 5 s
    and 3.4 GB in bfloat16, .4 s and 6.8 GB in float32, where the product takes .01 and .05 s.
    """
    head = head_of(model)
    if head is None:
        yield
        return
    watcher = head.register_forward_pre_hook(
        lambda _, given: tuple(one.contiguous() if isinstance(one, torch.Tensor) else one for one in given)
    )
    try:
        yield
    finally:
        watcher.remove()


def device_of(model: torch.nn.Module) -> torch.device:
    """The device that inputs go to: that of the first parameter which holds data."""
    return next((p.device for p in model.parameters() if p.device.type != "meta"), torch.device("cpu"))


def padding_id(tokenizer: Any) -> int:
    """The token that fills up batches; it is masked everywhere, so any will do."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0
