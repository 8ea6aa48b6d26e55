"""The base class of the regularisers: numbers in the log, memory that travels with checkpoints, several processes."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments

from retain.errors import InputError
from retain.train.ranks import rank_and_world
from retain.train.regularise.divergence import Batch

_NUMBERS = "numbers"
"""Numbers that no log took yet, in the memory of a checkpoint."""


class RegulariserCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """A callback that logs numbers and has a memory.

    Numbers go into the Trainer's next log of a training loss: into the dictionary that later callbacks see and into the
    last entry of `state.log_history`, which transformers has made by then. transformers puts reporters (wandb,
    tensorboard) before the callbacks that a user gives; `attach` puts this one before them, so that they see them.

    The memory lies in `state.stateful_callbacks`, which transformers writes into each checkpoint's `trainer_state.json`
    and reads when training is resumed. It is not an `ExportableState`: transformers would restore that only when asked
    to (`restore_callback_states_from_checkpoint`) and would build a new callback from JSON, without batches and models.
    When asked to, it says in its log that this entry is ignored; it is not.
    """

    key: str

    def __init__(self) -> None:
        self._numbers: dict[str, float] = {}
        self._trainer: weakref.ref[Trainer] | None = None

    def attach(self, trainer: Trainer) -> Self:
        """Add this callback to a Trainer, before its reporters, so that they too see its numbers.

        Returns:
            The callback.

        Raises:
            InputError: it is no trainer; or it has another one of the same kind on the same text, and two would act.
        """
        if not hasattr(trainer, "callback_handler"):
            raise InputError(
                f"{type(trainer).__name__} was given; give transformers' Trainer, as {type(self).__name__}(…).attach("
                "trainer)."
            )
        callbacks = trainer.callback_handler.callbacks
        if self in callbacks:
            callbacks.remove(self)
        if any(getattr(one, "key", None) == self.key for one in callbacks):
            raise InputError(
                f"this trainer has {type(self).__name__} on the same text already, and two would act twice: make the "
                "trainer anew, as a cell of a notebook that is run again should."
            )
        callbacks.insert(0, self)
        self.join(trainer)
        return self

    def join(self, trainer: Trainer) -> None:
        """Take part in a Trainer that has this callback already."""
        self.log_through(trainer)

    def log_through(self, trainer: Trainer) -> None:
        """Log what no log of a loss took by the Trainer's own `log`, so that reporters see the last numbers, too."""
        self._trainer = weakref.ref(trainer)

    def memory(self) -> dict[str, Any]:
        """The values that a checkpoint keeps, as JSON."""
        return {}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from the `memory` of a checkpoint."""

    def resume(self, state: TrainerState) -> None:
        """Go on from the checkpoint of a training that is resumed; for `on_train_begin`."""
        if memory := state.stateful_callbacks.get(self.key):
            self._numbers = dict(memory.get(_NUMBERS, {}))
            self.recall(memory)

    def remember(self, state: TrainerState) -> None:
        """Put the memory where the next checkpoint takes it from; for `on_step_end`."""
        state.stateful_callbacks[self.key] = {**self.memory(), _NUMBERS: dict(self._numbers)}

    def note(self, **numbers: float) -> None:
        """Remember numbers for the next log."""
        self._numbers.update(numbers)

    def observe_loss(self, loss: float) -> None:
        """Take in a training loss that is logged."""

    def on_log(
        self, _args: TrainingArguments, state: TrainerState, *_: Any, logs: dict[str, float] | None = None, **__: Any
    ) -> None:
        """Add the numbers to a log of the training loss."""
        if logs is None or "loss" not in logs:
            return
        self.observe_loss(float(logs["loss"]))
        logs.update(self._numbers)
        if state.log_history and state.log_history[-1].get("step") == state.global_step:
            state.log_history[-1].update(self._numbers)
        self._numbers = {}
        if self.key in state.stateful_callbacks:  # a checkpoint of this step is written after its log
            state.stateful_callbacks[self.key] = {**state.stateful_callbacks[self.key], _NUMBERS: {}}

    def flush(self, state: TrainerState) -> None:
        """Log numbers that no log took before training ended; without a known Trainer, in `state.log_history` alone."""
        trainer = None if self._trainer is None else self._trainer()
        numbers, self._numbers = self._numbers, {}
        if numbers and trainer is not None:
            trainer.log(numbers)
        elif numbers:
            state.log_history.append({**numbers, "epoch": state.epoch, "step": state.global_step})


def refuse_sharded(args: TrainingArguments, model: nn.Module, what: str, *, bears_fsdp2: bool = True) -> None:
    """Refuse a model whose weights are spread over processes, so that it cannot be run on its own.

    Args:
        args: of the training.
        model: as the Trainer trains it.
        what: is refused.
        bears_fsdp2: whether the whole model is run, as FSDP2 allows at any time.

    Raises:
        InputError: DeepSpeed, FSDP 1, tensor parallelism; or FSDP2 where parts of the model are read.
    """
    if bears_fsdp2 and isinstance(model, FSDPModule):
        return
    if is_sharded(args, model):
        besides = ", with FSDP2" if bears_fsdp2 else ""
        raise InputError(
            f"{what} runs the model outside the Trainer's own step, which DeepSpeed, FSDP and tensor parallelism do "
            f"not allow: train on one device{besides} or with plain data parallelism (DDP)."
        )


def is_sharded(args: TrainingArguments, model: nn.Module) -> bool:
    """True if the Trainer's settings, Accelerate's launcher or the weights themselves say that these are in pieces."""
    launched = any(os.environ.get(name) == "true" for name in ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"))
    in_pieces = any(isinstance(parameter, DTensor) for parameter in model.parameters())
    return bool(args.deepspeed or args.fsdp or (launched and rank_and_world()[1] > 1) or in_pieces)


def check_batches(batches: Iterable[Batch], what: str) -> list[Batch]:
    """The batches as a list.

    Raises:
        InputError: there is none, one holds nothing, or something else than tensors.
    """
    readable = hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")  # torch's Dataset has __getitem__ only
    held = list(batches) if readable and not isinstance(batches, Mapping) else []
    if not held or not all(isinstance(one, Mapping) and one for one in held):
        raise InputError(
            f"{what}: batches must be a sequence of at least one dictionary of model inputs, such as text_batches "
            "makes."
        )
    if odd := [name for one in held for name, value in one.items() if not isinstance(value, Tensor)]:
        raise InputError(f"{what}: {odd[0]} is no tensor; give batches of tensors, such as text_batches makes.")
    return held


def fingerprint(batches: Sequence[Batch]) -> str:
    """Twelve hexadecimal digits of a hash of the batches."""
    digest = hashlib.sha256()
    for batch in batches:
        for name in sorted(batch):
            tensor = batch[name].detach().cpu().contiguous()
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
