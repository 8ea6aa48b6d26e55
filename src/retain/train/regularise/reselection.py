"""SaRA's second choice (arXiv 2409.06633): entries that have outgrown the small ones are held where they are.

At one step of the training each chosen entry is looked at again: where |W0 + v| is larger than the largest |W0| that
was chosen in its matrix, it is no small weight any more, and is frozen at its value; the others go on. The authors
begin a new optimizer and lose a step there; here the frozen entries are put back after each step, and nothing else
changes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerState, TrainingArguments

from retain.hf.adapters.sparse_layer import sparse_layers
from retain.train.regularise.callback import RegulariserCallback, refuse_sharded

FROZEN = "retain_frozen_entries.safetensors"
"""Which entries of each layer are frozen, in a checkpoint."""


def outgrown(before: Tensor, values: Tensor) -> Tensor:
    """Which entries are larger now than the largest that was chosen (k,).

    Args:
        before: W0 at the chosen places (k,).
        values: v (k,).
    """
    return (before + values).abs() > before.abs().max()


def step_of(after: float, steps: int) -> int:
    """The step that ends a share of all steps: 7 of 100 at .07, whatever .07 · 100 is in floating point."""
    return max(1, math.ceil(after * steps * (1 - 1e-12)))


class Reselection(RegulariserCallback):
    """Freezes outgrown entries once, after a share of the steps; which ones they are travels with the checkpoints.

    Args:
        after: share of the steps, above 0 and below 1.
        adapter: the sparse update's name.
    """

    key = "retain.Reselection"

    def __init__(self, after: float, *, adapter: str = "default") -> None:
        super().__init__()
        self.after, self._adapter = after, adapter
        self._frozen: dict[str, Tensor] = {}
        self._held: dict[str, Tensor] = {}
        self._hooks: list[Any] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Refuse a model in pieces; go on from a checkpoint.

        Raises:
            InputError: it is sharded.
        """
        refuse_sharded(args, model, "SaRA's second choice", bears_fsdp2=False)
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / FROZEN
        if state.global_step and path.is_file():
            self._freeze(model, load_file(path))

    @torch.no_grad()
    def on_step_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any) -> None:
        """Put frozen entries back where they are held, or choose which ones are when it is time."""
        for key, layer in sparse_layers(model, self._adapter):
            if key in self._frozen:
                layer.supertuning_values[self._adapter].data[self._frozen[key]] = self._held[key]
        if state.global_step == step_of(self.after, state.max_steps):
            self._freeze(model, {key: self._outgrown(layer) for key, layer in sparse_layers(model, self._adapter)})
            count = sum(int(frozen.sum()) for frozen in self._frozen.values())
            self.note(retain_frozen_entries=float(count))

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Write which entries are frozen into the checkpoint."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self._frozen and state.is_world_process_zero and folder.is_dir():
            save_file({key: frozen.cpu() for key, frozen in self._frozen.items()}, folder / FROZEN)

    def on_train_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self.flush(state)

    def _outgrown(self, layer: Any) -> Tensor:
        values = layer.supertuning_values[self._adapter].detach()
        places = layer.supertuning_indices[self._adapter].to(torch.int64)
        return outgrown(layer.get_base_layer().weight.detach().reshape(-1)[places].to(values), values)

    def _freeze(self, model: nn.Module, frozen: dict[str, Tensor]) -> None:
        """Hold entries at their values: no gradient reaches them, and what momentum and decay do is undone."""
        for key, layer in sparse_layers(model, self._adapter):
            values = layer.supertuning_values[self._adapter]
            mask = frozen[key].to(values.device)
            self._frozen[key], self._held[key] = mask, values.detach()[mask].clone()
            self._hooks.append(values.register_hook(lambda gradient, mask=mask: gradient.masked_fill(mask, 0)))
