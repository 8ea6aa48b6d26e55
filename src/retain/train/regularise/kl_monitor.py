"""The KL monitor: KL(base ‖ tuned) on text to keep, measured during training at a small share of its cost."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from retain.errors import InputError, is_number, is_whole
from retain.hf.models.given import unwrapped
from retain.hf.models.inference import device_of, evaluating
from retain.train.ranks import sum_over_ranks
from retain.train.regularise.callback import (
    RegulariserCallback,
    check_batches,
    fingerprint,
    refuse_sharded,
)
from retain.train.regularise.divergence import Batch, Divergence
from retain.train.regularise.shares import share_of

KNEE = 0.26
"""Nats per token on held-out text. Fine-tuned models above it had lost abilities, those below it little, in 4 of the 6
model families that retain's studies measured; in the other two there was no such threshold."""

PROBE_WORK = 2 / 3
"""Work of a probe beside a training step on as many tokens: two forwards of three (a backward counts two)."""

LOSS_SMOOTHING = 0.7
"""Share of the old mean that a newly logged training loss leaves."""

COPY = "retain_kl_monitor.safetensors"
"""The copy of the best point's trained parameters, in each checkpoint's folder."""


class RetentionWarning(UserWarning):
    """Training moves the model so far that catastrophic forgetting is likely.

    Examples:
        >>> import warnings
        >>> warnings.simplefilter("ignore", retain.RetentionWarning)  # the report shows it all the same
    """


class KLMonitor(RegulariserCallback):
    """Measures KL(base ‖ tuned) on fixed probe batches during training, warns, and can keep a budget.

    It probes whenever training has done so much work since the last probe that probing stays below `share` of it, at
    the latest after `every` steps, and at the end. Work is counted in the tokens of training's own forwards (values of
    images), so the steps at which it probes do not depend on the machine.

    With a `limit` it keeps a copy (on the CPU) of the trained parameters at the best point so far, the one with the
    lowest smoothed training loss among the probes within the limit, and restores it if training ends over the limit.
    The loss is the one that the Trainer logs: log often enough (`logging_steps`). When training is resumed, the copy
    comes from a file beside the checkpoint; without that file a warning is given and a new best point is sought.

    Logged: `retain_kl`, nats.

    Args:
        batches: model inputs; a few small ones are enough.
        limit: budget in nats; None for none.
        share: work of the probes as a share of the work of training, at most.
        every: optimizer steps between probes at most, whatever they cost; None for no such bound.
        stop: whether to end training after `patience` probes in a row over the limit.
        patience: see `stop`.
        teacher: the base as a second model, for a model without adapters.

    Attributes:
        points: (step, KL in nats, smoothed training loss or None) of each probe.
        best: the point whose parameters are kept; None if there is none.
        restored: the step whose parameters were restored at the end; None if none were.

    Raises:
        InputError: a number is out of range, or there is no batch.

    Examples:
        >>> monitor = retain.KLMonitor(retain.text_batches(tokenizer, texts), every=1)
        >>> _ = monitor.attach(trainer)
        >>> _ = trainer.train()
        >>> step, kl, loss = monitor.points[-1]
    """

    def __init__(
        self,
        batches: Sequence[Batch],
        *,
        limit: float | None = None,
        share: float = 0.03,
        every: int | None = None,
        stop: bool = False,
        patience: int = 2,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self._batches = check_batches(batches, "kl_monitor")
        problems = []
        if limit is not None and not (is_number(limit) and limit > 0):
            problems.append(f"limit: {limit!r} nats; a budget must be above 0.")
        if not (is_number(share) and 0 < share <= 1):
            problems.append(f"share: {share!r}; it must be above 0 and at most 1, 0.03 for instance.")
        if any(not (is_whole(steps) and steps >= 1) for steps in (1 if every is None else every, patience)):
            problems.append("every and patience must be whole numbers, 1 or more.")
        if stop and limit is None:
            problems.append("stop=True needs a limit: how many nats are too many?")
        if problems:
            raise InputError(problems)
        self.limit, self.share, self.every, self.stop, self.patience = limit, share, every, stop, patience
        self._divergence = Divergence(teacher)
        self._due = PROBE_WORK * sum(map(_work, self._batches)) / share
        self.points: list[tuple[int, float, float | None]] = []
        self.best: tuple[int, float, float | None] | None = None
        self.restored: int | None = None
        self._copy: dict[str, Tensor] = {}
        self._loss: float | None = None
        self._seen = self._done = 0.0
        self._over = 0
        self._warned = False
        self._counter: Any = None
        self._file = ""
        self.key = f"retain.KLMonitor:{fingerprint(self._batches)}"

    def measure(self, model: nn.Module) -> float:
        """KL(base ‖ tuned) over all probe batches, weighted by attended tokens (items of a classifier), in nats."""
        total, count = 0.0, 0
        with evaluating(unwrapped(model)):
            for batch in self._batches:
                share = share_of(batch)
                kl = float(self._divergence(model, share.batch))  # in all processes, where each holds a piece of it
                number = self._divergence.units(share.batch) if share.counts else 0
                total += number * kl if number else 0.0
                count += number
        nats, tokens = sum_over_ranks([total, float(count)])
        return nats / tokens

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Begin to count the work of training; go on from a checkpoint.

        Raises:
            InputError: a sharded model, or one without a base to compare with.
        """
        refuse_sharded(args, model, "a KL monitor")
        self._divergence.check(model)
        self.resume(state)
        if self.best is not None and not self._copy:
            self._find_copy(args, state)
        self._stop_counting()
        count: Any = torch.compiler.disable(self._count)  # type: ignore[no-untyped-call]  # torch has no types here
        self._counter = model.register_forward_pre_hook(count, with_kwargs=True)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *_: Any,
        model: nn.Module,
        **__: Any,
    ) -> TrainerControl:
        """Probe when it is time; with `stop`, ask training to end."""
        self._done += sum_over_ranks([self._seen])[0]
        self._seen = 0.0
        last = self.points[-1][0] if self.points else 0
        late = self.every is not None and state.global_step - last >= self.every
        if self._done >= self._due or late or state.global_step >= state.max_steps:
            self._probe(args, state, model)
            if self.stop and self._over >= self.patience:
                control.should_training_stop = True
        self._file = str((Path(args.output_dir) / f"checkpoint-{state.global_step}" / COPY).resolve())
        self.remember(state)
        return control

    def observe_loss(self, loss: float) -> None:
        """Take in a training loss that is logged."""
        if math.isfinite(loss):
            old = loss if self._loss is None else self._loss
            self._loss = LOSS_SMOOTHING * old + (1 - LOSS_SMOOTHING) * loss

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Write the parameters of the best point beside the checkpoint."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self._copy and state.is_world_process_zero and folder.is_dir():
            save_file(self._copy, folder / COPY)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any) -> None:
        """Probe once more; restore the best point if training ended over the limit."""
        self._stop_counting()
        if not self.points or self.points[-1][0] != state.global_step:
            self._probe(args, state, model)
        if self.limit is not None and not self.points[-1][1] <= self.limit:
            self._restore(model)
        self.flush(state)

    def memory(self) -> dict[str, Any]:
        """The points, the best one, the place of its file, and the counts."""
        names = ("points", "best", "_loss", "_done", "_over", "_warned", "_file")
        return {name.strip("_"): getattr(self, name) for name in names}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from the memory of a KL monitor on the same batches."""
        self.points = [(int(step), float(kl), loss) for step, kl, loss in memory["points"]]
        self.best = None if memory["best"] is None else tuple(memory["best"])
        self._loss, self._done, self._over = memory["loss"], float(memory["done"]), int(memory["over"])
        self._warned, self._file = bool(memory["warned"]), str(memory["file"])

    def _probe(self, args: TrainingArguments, state: TrainerState, model: nn.Module) -> None:
        half = torch.bfloat16 if args.bf16 else torch.float16
        with torch.autocast(device_of(model).type, half, enabled=args.bf16 or args.fp16):
            kl = self.measure(model)
        self.points.append((state.global_step, kl, self._loss))
        self._done = 0.0
        self.note(retain_kl=kl)
        if not self._warned and not kl <= KNEE:
            self._warned = True
            warnings.warn(
                f"KL to the base is {kl:.2f} nats a token at step {state.global_step}, past {KNEE}: in 4 of 6 model "
                "families that were measured, models this far from their base on held-out text had lost abilities. "
                "A smaller learning rate, a KL penalty or a limit keeps it nearer.",
                RetentionWarning,
                stacklevel=2,
            )
        if self.limit is None:
            return
        within = kl <= self.limit
        self._over = 0 if within else self._over + 1
        if within and (self.best is None or _loss(self.points[-1]) <= _loss(self.best)):
            self.best = self.points[-1]
            self._copy = {name: _whole(value).to("cpu", copy=True) for name, value in _trained(model)}

    def _restore(self, model: nn.Module) -> None:
        step, kl, _ = self.points[-1]
        if self.best is None:
            message = f"no probe was within the limit of {self.limit} nats, so the model stays as it ended."
        else:
            with torch.no_grad():
                for name, value in _trained(model):
                    _set(value, self._copy[name])
            self.restored = self.best[0]
            message = (
                f"the model is put back to step {self.best[0]}, with {self.best[1]:.3g} nats the best within the limit."
            )
        warnings.warn(
            f"training ended at step {step} with a KL of {kl:.3g} nats; {message}", RetentionWarning, stacklevel=2
        )

    def _find_copy(self, args: TrainingArguments, state: TrainerState) -> None:
        places = [Path(self._file), Path(args.output_dir) / f"checkpoint-{state.global_step}" / COPY]
        found = next((place for place in places if place.is_file()), None)
        if found is not None:
            self._copy = load_file(found)
            return
        warnings.warn(
            f"{COPY} is not beside the checkpoint, so the parameters of the best point, step {(self.best or (0,))[0]}, "
            "are lost; from here on a new best point is sought.",
            RetentionWarning,
            stacklevel=2,
        )
        self.best = None

    def _count(self, module: nn.Module, _args: Any, inputs: Mapping[str, Any]) -> None:
        """Count the work of a forward pass of training; evaluation, generation and probes are left out."""
        if module.training and torch.is_grad_enabled():
            self._seen += _work(inputs)

    def _stop_counting(self) -> None:
        if self._counter is not None:
            self._counter.remove()
            self._counter = None


def _work(inputs: Mapping[str, Any]) -> int:
    """The tokens of a batch; without tokens, the values of its largest input."""
    ids = inputs.get("input_ids")
    if isinstance(ids, Tensor):
        return ids.numel()
    return max((value.numel() for value in inputs.values() if isinstance(value, Tensor)), default=0)


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, value) for name, value in unwrapped(model).named_parameters() if value.requires_grad]


def _whole(value: Tensor) -> Tensor:
    """The values of a parameter, put together where each process holds a piece."""
    value = value.detach()
    return value.full_tensor() if isinstance(value, DTensor) else value


def _set(value: nn.Parameter, whole: Tensor) -> None:
    """Give a parameter its values, or each process its piece of them."""
    if isinstance(value, DTensor):
        whole = distribute_tensor(whole.to(value.device), value.device_mesh, value.placements)
    value.copy_(whole)


def _loss(point: tuple[int, float, float | None]) -> float:
    return math.inf if point[2] is None else point[2]
