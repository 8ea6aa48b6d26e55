"""The KL penalty: it holds a model's predictions on chosen text or images to those of its base while it learns.

The objective is task + w · KL(base ‖ tuned). The base is the same model with its adapters off, so no second copy is
needed. With a limit, w is a Lagrange multiplier that follows the KL (`Dual`): as large as the limit needs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerState, TrainingArguments

from retain.data.tokens import pad, text_windows
from retain.errors import InputError, TrainingError, is_whole
from retain.hf.models.inference import device_of, padding_id
from retain.train.ranks import sum_over_ranks
from retain.train.regularise.callback import (
    RegulariserCallback,
    check_batches,
    fingerprint,
    refuse_sharded,
)
from retain.train.regularise.divergence import Batch, Divergence
from retain.train.regularise.dual_ascent import Dual
from retain.train.regularise.given_texts import given_texts, given_tokenizer
from retain.train.regularise.objective import (
    change_loss,
    check_task_weight,
    check_temperature,
    check_weight,
    weighted,
)
from retain.train.regularise.shares import share_of


class KLPenalty(RegulariserCallback):
    """Adds w · KL(base ‖ tuned) to the objective: a callback for a Trainer, or a term for a loop of one's own.

    In a Trainer its gradient is added when an optimizer step begins, before the first micro-batch: gradients add up in
    `.grad`, so the Trainer clips and applies the sum, and under DDP, which reduces `.grad` in the step's last backward
    pass, the mean over processes. Gradient accumulation leaves the weight's meaning alone. The loss that the Trainer
    logs stays the task's own.

    In a loop: `loss = task_loss + penalty.weight * penalty.loss(model)`.

    Logged: `retain_penalty_kl`, nats, on the latest batch, and `retain_kl_weight`; of features `retain_feature_kl` and
    `retain_feature_weight`.

    Args:
        batches: model inputs whose predictions must stay. They come in a seeded order, anew each round; data-parallel
            processes share the rows of each out, so that the gradient is that of one process.
        weight: w; with a limit, its initial value.
        limit: nats that KL should stay below on average; w then adapts. None keeps w as it is.
        every: optimizer steps between two with the penalty. It then counts `every` times, so that w keeps its meaning.
        teacher: the base as a second model, for a model without adapters (full fine-tuning).
        seed: of the order.
        dual: how w adapts, in place of `Dual(limit, weight)`.
        task_weight: c of c·task + w·KL; another than 1 needs `attach`.
        temperature: T of T²·KL(softmax(z/T) ‖ softmax(y/T)), which takes the place of the KL.
        vocabulary: tokens that teacher and model have, where one pads its vocabulary with rows of no token.
        divergence: what is held in place of the predictions, with a teacher of its own: `FeatureDivergence`.

    Raises:
        InputError: a number is out of range, or there is no batch.

    Examples:
        >>> penalty = retain.KLPenalty(retain.text_batches(tokenizer, texts), limit=0.1)
        >>> _ = penalty.attach(trainer)
        >>> _ = trainer.train()
    """

    def __init__(
        self,
        batches: Sequence[Batch],
        *,
        weight: float = 1.0,
        limit: float | None = None,
        every: int = 1,
        teacher: nn.Module | None = None,
        seed: int = 0,
        dual: Dual | None = None,
        task_weight: float = 1.0,
        temperature: float = 1.0,
        vocabulary: int | None = None,
        divergence: Divergence | None = None,
    ) -> None:
        super().__init__()
        self.batches = check_batches(batches, "kl_weight")
        check_weight(weight)
        if not (is_whole(every) and every >= 1):
            raise InputError(f"every: {every!r}; it is a number of steps, 1 or more.")
        if limit is not None and dual is not None:
            raise InputError("limit and dual were both given; the dual holds a limit of its own, so give one of them.")
        if divergence is not None and (teacher is not None or temperature != 1.0 or vocabulary is not None):
            raise InputError(
                "teacher, temperature and vocabulary are of predictions, and a divergence was given, which takes their "
                "place: give the teacher to the divergence."
            )
        self._dual = dual or (None if limit is None else _dual(limit, weight))
        self._weight, self._every, self._seed = weight, every, seed
        self._divergence = divergence or Divergence(teacher, check_temperature(temperature), vocabulary)
        self._task_weight, self._joined = check_task_weight(task_weight), False
        self.position = 0
        self.kl: float | None = None
        self.key = f"{self._divergence.key}:{fingerprint(self.batches)}"

    def join(self, trainer: Trainer) -> None:
        """Take part in a Trainer, in whose loss the task has its weight."""
        super().join(trainer)
        if self._task_weight != 1:
            change_loss(trainer, weighted(self._task_weight))
        self._joined = True

    @property
    def weight(self) -> float:
        """The present factor w of the KL."""
        return self._weight if self._dual is None else self._dual.weight

    @property
    def smoothed_kl(self) -> float | None:
        """The mean KL that the weight follows, in nats; None without a limit or before the first batch."""
        return None if self._dual is None else self._dual.smoothed

    def loss(self, model: nn.Module) -> Tensor:
        """KL(base ‖ tuned) on the next batch, in nats, with a gradient; both sides in eval mode.

        Moves on to the next batch; with a limit, updates the weight. With several processes it is this one's share,
        of such a size that the mean over processes, which data parallelism takes of gradients, is that of the batch.

        Args:
            model: the model that is trained.

        Raises:
            InputError: it has no adapters and no teacher was given, its base is not the base, or merged adapters.
            TrainingError: the KL is not finite.
        """
        batch = self.batches[self._next()]
        share = share_of(batch)
        kl = self._divergence(model, share.batch)
        if share.processes > 1:
            own = self._divergence.units(share.batch) if share.counts else 0
            kl = kl * (share.processes * own / max(self._divergence.units(batch), 1))
        self.kl = sum_over_ranks([float(kl.detach())])[0] / share.processes
        if not math.isfinite(self.kl):
            raise TrainingError(
                f"KL to the base became {self.kl} on a batch of {self._divergence.penalty}: training diverged; try a "
                "smaller learning rate or bf16."
            )
        if self._dual is not None:
            self._dual.update(self.kl)
        return kl

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Refuse a Trainer that cannot have it; go on from a checkpoint.

        Raises:
            InputError: float16 (its loss scaling would not reach the penalty's gradient), a sharded model, or no base.
        """
        if args.fp16:
            raise InputError(
                f"fp16=True scales the loss, and the gradient of {self._divergence.penalty} cannot be scaled with it: "
                "use bf16=True or float32."
            )
        refuse_sharded(args, model, self._divergence.penalty, bears_fsdp2=self._divergence.bears_fsdp2)
        if self._task_weight != 1 and not self._joined:
            raise InputError("task_weight changes the Trainer's loss: call penalty.attach(trainer) before it trains.")
        self._divergence.check(model)
        self.resume(state)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any) -> None:
        """Add the gradient of the penalty to the step that begins."""
        if state.global_step % self._every:
            return
        weight = self.weight
        with torch.autocast(device_of(model).type, torch.bfloat16, enabled=args.bf16):
            kl = self.loss(model)
        torch.autograd.backward(weight * self._every * kl)
        self.note(**self._divergence.logged(self.kl or 0.0, weight))

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Put the memory where the next checkpoint takes it from."""
        self.remember(state)

    def on_train_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Write numbers that no log took."""
        self.flush(state)

    def memory(self) -> dict[str, Any]:
        """The position in the batches, and the weight and smoothed KL of the dual."""
        return {"position": self.position, "dual": None if self._dual is None else self._dual.state()}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from the memory of a KL penalty on the same batches."""
        self.position = int(memory["position"])
        if self._dual is not None and memory["dual"] is not None:
            self._dual.restore(memory["dual"])

    def _next(self) -> int:
        round_, index = divmod(self.position, len(self.batches))
        self.position += 1
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + round_)
        return int(torch.randperm(len(self.batches), generator=generator)[index])


def _dual(limit: float, weight: float) -> Dual:
    """A dual whose weight may move by four orders of magnitude either way."""
    return Dual(limit, weight, low=weight * 1e-4, high=weight * 1e4)


def text_batches(
    tokenizer: Any, texts: Sequence[str], *, length: int = 128, batch_size: int = 4, limit_tokens: int = 8192
) -> list[dict[str, Tensor]]:
    """Batches of plain text, for a KL penalty or a KL monitor.

    Texts are cut into windows. The first windows of all texts come first, then the second ones, until there are
    `limit_tokens`, so that a part of many texts is used rather than all of one.

    Args:
        tokenizer: the model's.
        texts: at least one of two tokens or more; rows with a column `text` are taken for these.
        length: tokens in a window at most.
        batch_size: windows in a batch.
        limit_tokens: tokens in all.

    Returns:
        `input_ids` and `attention_mask`, int64 (B, T), padded on the right.

    Raises:
        InputError: there is no text of two tokens or more, what is given are no texts, or a number is out of range.

    Examples:
        >>> batches = retain.text_batches(tokenizer, texts, length=16, batch_size=2)
        >>> sorted(batches[0])
        ['attention_mask', 'input_ids']
    """
    sizes = {"length": (length, 2), "batch_size": (batch_size, 1), "limit_tokens": (limit_tokens, 2)}
    if wrong := [
        f"{name}: {value!r}; give a whole number of {least} or more."
        for name, (value, least) in sizes.items()
        if not (is_whole(value) and value >= least)
    ]:
        raise InputError(wrong)
    tokenizer, texts = given_tokenizer(tokenizer), given_texts(texts)
    windows = [text_windows(tokenizer, text, length) for text in texts]
    chosen, room = [], limit_tokens
    for window in itertools.chain.from_iterable(itertools.zip_longest(*windows)):
        if window is not None and len(window[:room]) > 1:
            chosen.append(window[:room])
            room -= len(chosen[-1])
    if not chosen:
        raise InputError(f"none of the {len(texts)} texts has two tokens or more, so there is nothing to hold on to.")
    parts = [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]
    return [
        {
            "input_ids": torch.tensor(pad(part, padding_id(tokenizer))),
            "attention_mask": torch.tensor(pad([[1] * len(row) for row in part], 0)),
        }
        for part in parts
    ]
