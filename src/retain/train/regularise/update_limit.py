"""The update limit: an update that has grown past a size is shrunk back to it after an optimizer step.

Weight decay pulls by a share of the learning rate, in units of the adapter's own parameters, which mean something else
for every method, rank and model. Here the limit is in units that carry over: how large the update is beside the
weights, or how much it moves the outputs of layers on text to keep. Shrinking to the limit is the projection on a ball
around the base where a method's update is linear in one of its factors and the unit does not depend on it otherwise;
else the ball is approached in a few rounds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn
from transformers import TrainerState, TrainingArguments

from retain.errors import InputError, is_number, is_whole
from retain.hf.models.given import unwrapped
from retain.hf.models.inference import evaluating
from retain.hf.models.layer_effects import layer_effects, update_size
from retain.hf.scaling import shrink
from retain.train.ranks import mean_over_ranks
from retain.train.regularise.callback import RegulariserCallback, check_batches, refuse_sharded
from retain.train.regularise.divergence import Batch, placed

TOLERANCE = 0.01
"""Excess over the limit, as a share of it, that is let be."""

ROUNDS = 5
"""The most shrinkings in one step."""


class UpdateLimit(RegulariserCallback):
    """Keeps the size of the adapters' update at or below a limit during training.

    The size is measured after every `every` optimizer steps and once more at the end, always on the same random inputs
    or the same batches. In a loop of one's own, call `apply(model)` after `optimizer.step()`. The optimizer's momentum
    is left alone. A measurement costs about two forwards of the batches (`f_delta`), or the
    products of every adapted layer with a few vectors and one pass over its weight (`relative`).

    Logged: `retain_update_size`, in the unit, after shrinking.

    Args:
        limit: largest size, above 0. As a `relative` size 0.01 is small and 0.1 large.
        unit: `relative` for ‖ΔW‖_F/‖W0‖_F over all adapted layers, or `f_delta` for the mean of ‖ΔW x‖/‖x‖ over all
            layers and the inputs x that they get on `batches`.
        batches: model inputs, for `f_delta` only.
        every: optimizer steps between measurements.
        probes: random inputs a layer gets, for `relative` only.
        seed: of the random inputs.

    Raises:
        InputError: a number is out of range, or the batches are missing or not wanted.

    Examples:
        >>> trainer.add_callback(retain.UpdateLimit(0.05))  # at most 5 % of the weights' norm
        >>> _ = trainer.train()
    """

    def __init__(
        self,
        limit: float,
        *,
        unit: Literal["relative", "f_delta"] = "relative",
        batches: Sequence[Batch] | None = None,
        every: int = 10,
        probes: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        problems = []
        if not (is_number(limit) and limit > 0):
            problems.append(f"limit: {limit!r}; it must be a number above 0 and finite.")
        if unit not in {"relative", "f_delta"}:
            problems.append(f"unit: {unit!r}; there are 'relative' and 'f_delta'.")
        if (unit == "f_delta") != (batches is not None):
            problems.append("batches: needed for unit 'f_delta', and for that unit only.")
        if any(not (is_whole(number) and number >= 1) for number in (every, probes)):
            problems.append("every and probes must be whole numbers, 1 or more.")
        if problems:
            raise InputError(problems)
        self.limit, self.unit, self.every = limit, unit, every
        self._batches = None if batches is None else check_batches(batches, "update limit")
        self._probes, self._seed = probes, seed
        self.key = "retain.UpdateLimit"
        self._warned = False
        self.size: float | None = None

    def measure(self, model: nn.Module) -> float:
        """The present size of the update, in the unit.

        Raises:
            InputError: the model has no adapted linear layers.
        """
        model = unwrapped(model)
        with evaluating(model):
            if self._batches is None:
                size = update_size(model, self._probes, generator=torch.Generator().manual_seed(self._seed))
            else:
                found = [
                    pair for batch in self._batches for pair in layer_effects(model, placed(model, batch)).values()
                ]
                size = sum(total for total, _ in found) / max(sum(number for _, number in found), 1)
        return mean_over_ranks(size)

    def apply(self, model: nn.Module) -> float:
        """Measure, shrink if needed, and return the size after that.

        Raises:
            InputError: the model has no adapted linear layers, or its method cannot be shrunk.
            MergeError: its adapters are merged.
        """
        size = self.measure(model)
        for _ in range(ROUNDS):
            if size <= self.limit:
                break
            shrink(unwrapped(model), self.limit / size)
            size = self.measure(model)
            if size <= self.limit * (1 + TOLERANCE):
                break
        self._warn(size)
        self.size = size
        self.note(retain_update_size=size)
        return size

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Refuse a model that cannot be measured; go on from a checkpoint.

        Raises:
            InputError: it is sharded.
        """
        refuse_sharded(args, model, "a limit of the update's size", bears_fsdp2=False)
        self.resume(state)

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any) -> None:
        """Measure and shrink when it is time."""
        if state.global_step % self.every == 0:
            self.apply(model)
        self.remember(state)

    def on_train_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any) -> None:
        """Measure and shrink a last time, so that the saved update keeps the limit."""
        self.apply(model)
        self.flush(state)

    def _warn(self, size: float) -> None:
        if not self._warned and size > self.limit * (1 + TOLERANCE):
            self._warned = True
            warnings.warn(
                f"the update's size is {size:.4g} after {ROUNDS} shrinkings, above the limit {self.limit:.4g}: this "
                "method's update does not follow the factor closely; measure every step (every=1).",
                stacklevel=2,
            )
