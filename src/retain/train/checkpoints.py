"""Checkpoints that are complete: a training that goes on from one ends in the bits of one that was never interrupted.

transformers' own checkpoints leave out:

* the weights of models of some kinds (ViT, for one), which are saved under older names than they are read by;
* the initial factor A0 of a residual LoRA, which its files hold only as A and ΔA (their difference is rounded);
* the training loss since the last point of the curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerState, TrainingArguments

from retain.errors import TrainingError
from retain.hf.adapters.residual_lora import initial_factors, restore_initial_factors
from retain.records.checkpoint_seal import remove_checkpoints, seal
from retain.train.ranks import mean_over_ranks, wait_for_all

INITIAL = "retain_initial_factors.safetensors"
"""A0 of each layer of a residual LoRA, in a checkpoint."""

RUNNING_LOSS = "retain.running_loss"
"""Key of the training loss since the last point of the curve, in a checkpoint's `trainer_state.json`."""


class CompleteTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """transformers' Trainer with checkpoints that hold all that a training goes on from; a missing weight is refused.

    Args:
        *args: as transformers' Trainer.
        **kwargs: as transformers' Trainer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(_RunningLoss(self))

    def _save(self, *args: Any, **kwargs: Any) -> None:
        with _names_in_memory(self.model):
            super()._save(*args, **kwargs)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint with what transformers leaves out.

        Raises:
            TrainingError: it could not be written, the disk is full for instance.
        """
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        self.state.stateful_callbacks[RUNNING_LOSS] = {
            "loss": mean_over_ranks(self._tr_loss.item()),
            "total": self._total_loss_scalar,
            "logged": self._globalstep_last_logged,
        }
        try:
            super()._save_checkpoint(*args, **kwargs)
            if self.args.should_save and (factors := initial_factors(self.model)):
                save_file(factors, folder / INITIAL)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                f"the checkpoint of step {self.state.global_step} could not be written to {folder} "
                f"({' '.join(str(error).split())[:200]}). Make room there; the same command goes on from the "
                "checkpoint before, if there was one."
            ) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)
        if (path := Path(resume_from_checkpoint) / INITIAL).is_file():
            restore_initial_factors(self.model, load_file(path))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse a checkpoint without all weights.

        Raises:
            TrainingError: with the first weight that is missing.
        """
        if missing := _missing_weights(self.model, set(load_result.missing_keys)):
            raise TrainingError(
                f"the checkpoint holds no values for {len(missing)} weights of this model, {missing[0]} first: it was "
                "written for another model or by another version. Remove the run's folder to begin anew."
            )
        super()._issue_warnings_after_load(load_result)


class _RunningLoss(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Goes on with the training loss since the last point of the curve, which transformers begins anew."""

    def __init__(self, trainer: CompleteTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Take the loss of the checkpoint."""
        if state.global_step and (kept := state.stateful_callbacks.get(RUNNING_LOSS)):
            self._trainer._tr_loss = torch.tensor(kept["loss"], device=args.device)  # noqa: SLF001 -- transformers has no public name for it
            self._trainer._total_loss_scalar = kept["total"]  # noqa: SLF001 -- likewise
            self._trainer._globalstep_last_logged = kept["logged"]  # noqa: SLF001 -- likewise


class SealCheckpoints(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Seals each checkpoint when all callbacks before this one have written into it, and removes older ones then.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = 1) -> None:
        self._most = max(1, most)
        self._before: list[str] = []

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Note what lies where the checkpoint will be written, if one is."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self._before = [path.name for path in folder.iterdir()] if folder.is_dir() else []

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Seal it, unless training is over: transformers would go on from it with one step more."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        wait_for_all()  # each process has written its random state
        if state.is_world_process_zero and folder.is_dir() and state.global_step < state.max_steps:
            seal(folder, self._before)
            remove_checkpoints(folder.parent, self._most)
        wait_for_all()  # no process ends, and ends the others, before it is sealed


@contextmanager
def _names_in_memory(model: nn.Module) -> Iterator[None]:
    """Save a whole model under the names that it has in memory, and not under those of its first release."""
    if not isinstance(model, PreTrainedModel):
        yield
        return
    model.save_pretrained = partial(model.save_pretrained, save_original_format=False)
    try:
        yield
    finally:
        del model.save_pretrained


def _missing_weights(model: nn.Module, missing: set[str]) -> list[str]:
    """The names that a checkpoint lacks and that no other name stands for: tied weights are saved once."""
    state = model.state_dict()
    present = {value.data_ptr() for name, value in state.items() if name not in missing}
    return sorted(name for name in missing if name in state and state[name].data_ptr() not in present)
