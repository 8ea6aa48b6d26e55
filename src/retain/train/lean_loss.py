"""A Trainer whose loss needs no logits for every token of the vocabulary, where the model allows it.

The logits of a batch are tokens times vocabulary numbers, in the model's precision, in float32, and again as gradients:
for a small model with a large vocabulary much of what training holds. Where logits are just what the head reads times a
matrix, `chunked_cross_entropy` gives the same loss without them. The two losses are compared on a piece of the first
batch; in doubt the model's own loss is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from retain.data.tokens import IGNORED
from retain.errors import InputError
from retain.hf.models.lm_head import head_of, head_stands_apart, is_compiled, shifts_labels, without_logits
from retain.hf.tuners.forward import is_watched
from retain.kernels.cross_entropy import chunked_cross_entropy
from retain.train.checkpoints import CompleteTrainer

PIECE = 64
"""Tokens of the first batch on which the two losses are compared."""

KNOWN = {"input_ids", "attention_mask", "labels"}
"""Inputs of a batch for which the chunked loss is known to be right; any other may change what a model computes."""


class LeanTrainer(CompleteTrainer):
    """`CompleteTrainer`, with the chunked loss in training where it agrees with the model's own.

    Not with label smoothing or a loss function of the user's, several processes, a wrapped, compiled or sharded
    model, prompts before the text, an adapter on the head, a head that is quantised, watched or followed by anything,
    inputs of other names, or a loss that is not that of causal language models. Evaluation needs logits and keeps them.

    Args:
        *args: as transformers' Trainer.
        plain: always use the model's own loss.
        **kwargs: as transformers' Trainer.

    Attributes:
        lean: whether the chunked loss is used; None before the first batch with labels.
    """

    def __init__(self, *args: Any, plain: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lean: bool | None = False if plain else None

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of one micro-batch, with a gradient, and the model's outputs with `return_outputs`."""
        if self.lean is None and not return_outputs:
            self.lean = self._agrees(model, inputs)
        if not self.lean or return_outputs or not KNOWN.issuperset(inputs) or "labels" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return lean_loss(model, inputs, num_items_in_batch if self.model_accepts_loss_kwargs else None)

    def _agrees(self, model: nn.Module, inputs: Mapping[str, Any]) -> bool | None:
        """True if the chunked loss may replace the model's own; None before the first label."""
        if not (self._is_alone(model) and may_be_lean(model, inputs)):
            return False
        piece = piece_of(inputs)
        if piece is None:
            return None
        device = self.args.device.type
        with torch.autocast(device, torch.bfloat16 if self.args.bf16 else torch.float16, enabled=self._is_mixed()):
            return agrees(model, piece, num_items=self.model_accepts_loss_kwargs)

    def _is_mixed(self) -> bool:
        return bool(self.args.bf16 or self.args.fp16)

    def _is_alone(self, model: nn.Module) -> bool:
        """True if one process holds the whole model, unwrapped, and no loss but the model's is in use."""
        alone = self.args.n_gpu <= 1 and self.accelerator.num_processes == 1
        sharded = self.args.deepspeed or self.args.fsdp or getattr(self.accelerator, "parallelism_config", None)
        other_loss = self.label_smoother is not None or self.compute_loss_func is not None
        unwrapped = self.accelerator.unwrap_model(model) is model and not is_compiled(model)
        return bool(alone and not sharded and not other_loss and unwrapped)


def lean_loss(model: nn.Module, inputs: Mapping[str, Tensor], num_items: Tensor | float | None = None) -> Tensor:
    """The loss of a causal language model on a batch, without its logits.

    Args:
        model: one of which `agrees` is true, in the mode it has.
        inputs: what it is called with, on its device, and `labels` int64 (B, T), which are shifted here.
        num_items: what the summed loss is divided by; None for the number of labelled next tokens.

    Returns:
        Nats, a scalar in float32 or float64.
    """
    read = partial(_read, labels=next_tokens(inputs["labels"]), num_items=num_items)
    return without_logits(model, {name: value for name, value in inputs.items() if name != "labels"}, read)


def next_tokens(labels: Tensor) -> Tensor:
    """The label that each position predicts, the one after it; none for the last. (B, T) to (B, T)."""
    return nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)


def may_be_lean(model: nn.Module, inputs: Mapping[str, Any]) -> bool:
    """True if a model of this class and these inputs may have the chunked loss; decided before anything is run."""
    head, labels = head_of(model), inputs.get("labels")
    return (
        head is not None
        and not is_watched(head)
        and KNOWN.issuperset(inputs)
        and labels is not None
        and labels.ndim == 2
        and all(value.shape == labels.shape for value in inputs.values())
        and shifts_labels(model)
    )


def piece_of(inputs: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Cut up to `PIECE` tokens, some with a label, out of one sequence; None where no next token has a label."""
    labelled = next_tokens(inputs["labels"]).ne(IGNORED).nonzero()
    if not len(labelled):
        return None
    row, column = (int(place) for place in labelled[0])
    start = max(0, column - PIECE // 2)
    return {name: value[row : row + 1, start : start + PIECE] for name, value in inputs.items()}


@torch.no_grad()
def agrees(model: nn.Module, piece: Mapping[str, Tensor], *, num_items: bool = True) -> bool:
    """True if a model's own loss is the chunked one: its mean, and where it takes `num_items_in_batch` its sum.

    The two are compared in the mode that the model has, with the same random numbers; those drawn here are given back.

    Args:
        model: with adapters or without.
        piece: inputs with labels, on its device.
        num_items: whether the model takes `num_items_in_batch`.
    """
    device = piece["input_ids"].device
    if device.type not in {"cpu", "cuda"}:  # elsewhere random states cannot be given back in the same way
        return False
    try:
        with _forked(device):
            apart = head_stands_apart(model, {name: value for name, value in piece.items() if name != "labels"})
    except InputError:  # no logits of the form that is needed
        return False
    return apart and all(_same(model, piece, number) for number in ((None, 7) if num_items else (None,)))


def _same(model: nn.Module, piece: Mapping[str, Tensor], number: int | None) -> bool:
    """True if both losses are one on a piece, divided by a number of items or not."""
    extra = {} if number is None else {"num_items_in_batch": torch.tensor(number, device=piece["labels"].device)}
    with _forked(piece["labels"].device):
        own = getattr(model(**piece, **extra), "loss", None)
    if own is None:
        return False
    with _forked(piece["labels"].device):
        mine = lean_loss(model, piece, number)
    coarse = torch.is_autocast_enabled(mine.device.type) or head_of(model).weight.dtype.itemsize < 4
    return math.isclose(float(own), float(mine), rel_tol=2e-2 if coarse else 1e-4)


def _forked(device: torch.device) -> AbstractContextManager[None]:
    """Restore random states at the end."""
    return torch.random.fork_rng([] if device.type == "cpu" else [device], device_type="cuda")


def _read(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, *, labels: Tensor, num_items: Tensor | float | None
) -> Tensor:
    return chunked_cross_entropy(hidden, weight, bias, labels, ignored=IGNORED, num_items=num_items)
