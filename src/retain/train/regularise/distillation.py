"""Distillation: the KL penalty on the step's own batch, from any teacher.

The objective is c·task + w·T²·KL(softmax(z/T) ‖ softmax(y/T)), z the teacher's logits and y the student's, in train
mode and from the step's own forward pass (Hinton et al., arXiv 1503.02531; KD-LoRA, arXiv 2410.20777, has
c = 1 − w = ½ and T = 2). Without a teacher z is the base's, on the very inputs that are learned: what Learning without
Forgetting (arXiv 1606.09282) keeps. A language model is compared at the positions whose next token is learned.

KD-LoRA's published code takes one row of the cached logits for every batch; here they are found by each row's inputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerState, TrainingArguments

from retain.data.tokens import IGNORED
from retain.errors import InputError
from retain.hf.models.given import unwrapped
from retain.hf.models.lm_head import logits_of
from retain.kernels.kl_divergence import logits_kl
from retain.train.regularise.callback import refuse_sharded
from retain.train.regularise.divergence import Batch, Divergence, placed
from retain.train.regularise.objective import (
    Own,
    Scale,
    check_task_weight,
    check_temperature,
    check_weight,
)
from retain.train.regularise.own_batch import OwnBatchPenalty
from retain.train.regularise.teacher_tokens import Likely, TeacherTokens


class TeacherLogits:
    """A teacher's logits for the items of a training set, found by the student's inputs of each.

    For classifiers, whose logits are few: the teacher may then read the items in a way of its own (another tokenizer,
    or images of another size), and need not be there while the student learns.

    Args:
        keys: of each item, by `row_keys`.
        logits: (items, classes).

    Raises:
        InputError: there is not one row of logits for each item.

    Examples:
        >>> logits = retain.TeacherLogits(["one", "other"], torch.zeros(2, 3))
        >>> distillation = retain.Distillation(logits, temperature=2.0)
    """

    def __init__(self, keys: Sequence[str], logits: Tensor) -> None:
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(keys) != len(logits):
            shape = (
                f"the shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"type {type(logits).__name__}"
            )
            raise InputError(
                f"teacher: {len(keys)} items and logits of {shape}; give a tensor with one row for each item."
            )
        self._rows = dict(zip(keys, logits.detach().cpu(), strict=True))

    def of(self, inputs: Batch) -> Tensor:
        """The logits of a batch's rows, (B, classes).

        Raises:
            InputError: the teacher did not see one of them.
        """
        keys = row_keys(inputs)
        if missing := sum(key not in self._rows for key in keys):
            raise InputError(
                f"teacher: {missing} of the {len(keys)} rows of a batch are none that its logits were computed for; "
                "rows must be the same in every epoch (no random augmentation), or give the teacher as a model."
            )
        return torch.stack([self._rows[key] for key in keys])


class Distillation(OwnBatchPenalty):
    """Adds T²·KL(teacher ‖ tuned) on each step's own batch to the loss of a Trainer.

    The loss that the Trainer logs is then that of the whole objective. Under gradient accumulation and in several
    processes the KL counts as the task's own loss does. Works with full fine-tuning only where a teacher is given.

    Logged: `retain_penalty_kl`, T²·KL in nats, mean over the step's positions (or items).

    Args:
        teacher: a model with the same vocabulary or the same classes in the same order; cached logits of a classifier,
            or the most likely tokens of a language model; None for the base, which is the model with its adapters off.
        weight: w.
        task_weight: c; 1 − w mixes the two, 0 leaves the teacher alone.
        temperature: T.
        vocabulary: tokens that both have, where one of two language models pads its vocabulary with rows of no token.

    Raises:
        InputError: a number is out of range.

    Examples:
        >>> distillation = retain.Distillation(weight=0.5, task_weight=0.5, temperature=2.0)
        >>> _ = distillation.attach(trainer)
        >>> _ = trainer.train()
    """

    key = "retain.Distillation"
    logged = "retain_penalty_kl"
    subject = "the student to its teacher"

    def __init__(
        self,
        teacher: nn.Module | TeacherLogits | TeacherTokens | None = None,
        *,
        weight: float = 1.0,
        task_weight: float = 1.0,
        temperature: float = 1.0,
        vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        self.weight = check_weight(weight)
        self.task_weight = check_task_weight(task_weight)
        self.temperature = check_temperature(temperature)
        if isinstance(teacher, TeacherTokens) and teacher.temperature != temperature:
            raise InputError(
                f"temperature: {temperature}; the teacher's tokens were kept at {teacher.temperature:g}, and of the "
                "others they say nothing at another."
            )
        self._cached = teacher if isinstance(teacher, TeacherLogits | TeacherTokens) else None
        model = None if isinstance(teacher, TeacherLogits | TeacherTokens) else teacher
        self._divergence = Divergence(model, temperature, vocabulary)
        self._vocabulary = teacher.vocabulary if isinstance(teacher, TeacherTokens) else None

    def loss(self, model: nn.Module, inputs: Batch, logits: Tensor) -> tuple[Tensor, int]:
        """T²·KL(teacher ‖ tuned) in nats, a mean, and over how many positions or items; for a loop of one's own.

        Args:
            model: that is trained.
            inputs: of the batch, with `labels` (B, T) for a language model.
            logits: of the tuned model for these inputs, with a gradient.
        """
        return self._compared(self._teachers(model, inputs), logits, inputs)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Refuse a Trainer that cannot have it.

        Raises:
            InputError: it was not attached, the model is sharded, gives no distribution, or has no base.
        """
        self.refuse_unattached()
        refuse_sharded(args, model, "distillation", bears_fsdp2=False)
        if self._cached is None:
            self._divergence.check(model)
        self.resume(state)

    def term(self, model: nn.Module, inputs: Mapping[str, Any], own: Own, scale: Scale) -> tuple[Tensor, Any]:
        """The task's loss and w·T²·KL to the teacher, on a micro-batch."""
        before = self._teachers(model, inputs)  # first: a sharded model is whole but while it runs
        task, outputs = own(True)  # noqa: FBT003 -- the one argument that `own` has
        kl, units = self._compared(before, _logits(outputs), inputs)
        self.count(kl, units)
        task = task if self.task_weight == 1 else self.task_weight * task
        return task + self.weight * scale(kl, units), outputs

    def _teachers(self, model: nn.Module, inputs: Mapping[str, Any]) -> Tensor | Likely:
        if isinstance(self._cached, TeacherTokens):
            return self._cached.of(inputs)
        read = {name: value for name, value in inputs.items() if name not in {"labels", "num_items_in_batch"}}
        if self._cached is not None:
            return self._cached.of(read)
        with self._divergence.base(unwrapped(model)) as teacher:
            return logits_of(teacher, placed(teacher, read))

    def _compared(self, before: Tensor | Likely, after: Tensor, inputs: Mapping[str, Any]) -> tuple[Tensor, int]:
        if isinstance(before, Tensor) and before.ndim == 2:
            if after.ndim != 2:
                raise InputError(
                    "teacher: its logits are one row an item, as a classifier's, and this model predicts each token; "
                    "give a language model, or its most likely tokens (retain tune --teacher-top)."
                )
            return logits_kl(before, after, temperature=self.temperature), len(after)
        # Virtual tokens, which only one side may have, stand in front.
        length = min((inputs["labels"] if isinstance(before, Likely) else before).shape[1], after.shape[1])
        learned = learned_positions(inputs, length)
        units = int(learned.sum())
        if not units:
            return after.sum() * 0.0, 0
        if isinstance(before, Likely):
            return before.kl(after[:, -length:][learned][:, : self._vocabulary], self.temperature), units
        size = self._divergence.common(before.shape[-1], after.shape[-1])
        before, after = before[:, -length:, :size], after[:, -length:, :size]
        return logits_kl(before, after, learned, temperature=self.temperature), units


def learned_positions(inputs: Mapping[str, Any], length: int) -> Tensor:
    """The positions (B, length) of a language model whose next token is learned.

    Raises:
        InputError: the batch has no labels.
    """
    labels = inputs.get("labels")
    if labels is None:
        raise InputError("distillation compares a language model where it learns: the batch has no labels.")
    following = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED).ne(IGNORED)
    return following[:, -length:]


def row_keys(inputs: Batch) -> list[str]:
    """A hash of each row's inputs, whatever stands beside it in the batch: padding does not count."""
    mask = inputs.get("attention_mask")
    names = sorted(name for name in inputs if name not in {"labels", "attention_mask"})
    keys = []
    for row in range(len(inputs[names[0]])):
        digest = hashlib.sha256()
        for name in names:
            value = inputs[name][row].detach().cpu()
            if mask is not None and value.shape == mask[row].shape:
                value = value[mask[row].detach().cpu().bool()]
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        keys.append(digest.hexdigest())
    return keys


def _logits(outputs: Any) -> Tensor:
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if not isinstance(logits, Tensor):
        raise InputError(f"the model's outputs ({type(outputs).__name__}) have no logits, so nothing can be distilled.")
    return logits
