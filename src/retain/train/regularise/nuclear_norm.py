"""SaRA's penalty (arXiv 2409.06633): the nuclear norm of the chosen entries of one matrix a step, for a low rank.

The objective is task + λ ‖X‖_*, where X holds W0 + v at the chosen places and 0 elsewhere; ∂‖X‖_*/∂X = U Vᵀ of its
singular vectors. X holds the pretrained small weights too, as in the authors' code: it is no penalty on the change.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerState, TrainingArguments

from retain.errors import InputError
from retain.hf.adapters.sparse_layer import sparse_layers
from retain.kernels.sparse_entries import with_entries
from retain.train.regularise.callback import RegulariserCallback, refuse_sharded


def nuclear_gradient(X: Tensor) -> Tensor:
    """U Vᵀ (m, n) of a matrix X (m, n): the subgradient of its nuclear norm that is 0 where X is 0."""
    U, S, Vh = torch.linalg.svd(X, full_matrices=False)
    rank = int((S.max().clamp_min(torch.finfo(S.dtype).tiny) * max(X.shape) * torch.finfo(S.dtype).eps < S).sum())
    gradient: Tensor = U[:, :rank] @ Vh[:rank]
    return gradient


def chosen_entries(layer: Any, adapter: str) -> Tensor:
    """X (m, n): W0 + v at the chosen places, 0 elsewhere; float32 or better."""
    places = layer.supertuning_indices[adapter].to(torch.int64)
    values = layer.supertuning_values[adapter].detach()
    weight = layer.get_base_layer().weight.detach()
    entries = weight.reshape(-1)[places].to(values) + values
    return with_entries(torch.zeros_like(weight, dtype=values.dtype), places, entries)


class NuclearNorm(RegulariserCallback):
    """Adds the gradient of λ ‖X‖_* of one layer, drawn anew each step, to the trained entries.

    It is added as an optimizer step begins, as the KL penalty's, so that the Trainer clips and applies the sum. The
    draw depends on the seed and the number of the step alone, so a training that goes on draws the same.

    Args:
        weight: λ.
        seed: of the draw.
        adapter: the sparse update's name.
    """

    key = "retain.NuclearNorm"

    def __init__(self, weight: float, *, seed: int = 0, adapter: str = "default") -> None:
        super().__init__()
        self.weight, self._seed, self._adapter = weight, seed, adapter

    def on_train_begin(
        self, args: TrainingArguments, _state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Refuse a Trainer that cannot have the penalty.

        Raises:
            InputError: float16 (its loss scaling would not reach the gradient), or a sharded model.
        """
        if args.fp16:
            raise InputError(
                "fp16=True scales the loss, and the nuclear norm's gradient cannot be scaled with it: use bf16=True or "
                "float32."
            )
        refuse_sharded(args, model, "a nuclear norm", bears_fsdp2=False)

    @torch.no_grad()
    def on_step_begin(
        self, _args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Add the gradient to the step that begins."""
        layers = [layer for _, layer in sparse_layers(model, self._adapter)]
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + state.global_step)
        layer = layers[int(torch.randint(len(layers), (), generator=generator))]
        places = layer.supertuning_indices[self._adapter].to(torch.int64)
        values = layer.supertuning_values[self._adapter]
        gradient = self.weight * nuclear_gradient(chosen_entries(layer, self._adapter)).reshape(-1)[places]
        values.grad = gradient.to(values) if values.grad is None else values.grad + gradient.to(values)
