"""A penalty on the step's own batch: another term of the Trainer's loss, and its mean over the step in the log."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers import Trainer, TrainerState, TrainingArguments

from retain.errors import InputError, TrainingError
from retain.train.regularise.callback import RegulariserCallback
from retain.train.regularise.objective import Own, Scale, change_loss, sums_of_step


class OwnBatchPenalty(RegulariserCallback):
    """A regulariser whose penalty is of the very batch that a step learns.

    Attributes:
        logged: the name of its mean over a step, in the log.
        subject: what is compared, for errors.
    """

    logged: str
    subject: str

    def __init__(self) -> None:
        super().__init__()
        self._joined = False
        self._seen: list[tuple[Tensor, int]] = []

    @abstractmethod
    def term(self, model: nn.Module, inputs: Mapping[str, Any], own: Own, scale: Scale) -> tuple[Tensor, Any]:
        """The changed loss of a micro-batch, and the model's outputs where it has them."""

    def join(self, trainer: Trainer) -> None:
        """Take part in a Trainer's loss."""
        super().join(trainer)
        change_loss(trainer, self.term)
        self._joined = True

    def refuse_unattached(self) -> None:
        """For `on_train_begin`.

        Raises:
            InputError: it was given to the Trainer as a callback, whose loss it cannot change then.
        """
        if not self._joined:
            name = type(self).__name__
            raise InputError(
                f"{name} changes the Trainer's loss: call {name}(…).attach(trainer) before trainer.train(), in place "
                "of callbacks=[…]."
            )

    def count(self, kl: Tensor, units: int) -> None:
        """Take the mean KL of a micro-batch, in nats, into that of the step."""
        self._seen.append((kl.detach(), units))

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Log the step's KL, and put the memory where the next checkpoint takes it from.

        Raises:
            TrainingError: the KL is not finite.
        """
        kl, count = sums_of_step(self._seen)
        self._seen = []
        if not math.isfinite(kl):
            raise TrainingError(
                f"the KL of {self.subject} is not finite: training diverged; try a smaller learning rate or bf16."
            )
        if count:
            self.note(**{self.logged: kl / count})
        self.remember(state)

    def on_train_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Write numbers that no log took."""
        self.flush(state)
