"""The training loop on transformers' Trainer: it resumes, stops when the loss is not finite, and measures its cost."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from retain.data.augmentation import Views
from retain.data.lengths import NO_CUTS, Cuts
from retain.data.preprocess import Preprocessor, padded
from retain.data.tokens import IGNORED, Encoded, pad
from retain.errors import TrainingError
from retain.events import Events
from retain.hf.models.memory import telling_memory
from retain.recipe import Recipe
from retain.records.checkpoint_seal import last_whole
from retain.records.result import Cost, CurvePoint
from retain.train.arguments import REFUSALS, refused, training_arguments
from retain.train.callbacks import (
    ReportProgress,
    StepClock,
    StopOnSignal,
    StopWhenNotFinite,
    TellEpoch,
    TimedCheckpoint,
)
from retain.train.checkpoints import SealCheckpoints
from retain.train.prefetch import PrefetchingTrainer, prefetching_threads
from retain.train.regularise.callback import RegulariserCallback
from retain.train.trackers.reporting import tracking


@dataclass(frozen=True)
class PadCollator:
    """Pads encoded examples on the right and masks the padding, in attention and in the loss."""

    pad_id: int

    def __call__(self, batch: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` and `labels`, each int64 (B, T)."""
        ids = [row["input_ids"] for row in batch]
        inputs, mask = padded(ids, self.pad_id)
        return {
            "input_ids": inputs,
            "attention_mask": mask,
            "labels": torch.tensor(pad([row["labels"] for row in batch], IGNORED)),
        }


@dataclass(frozen=True)
class TrainingSet:
    """Rows that transformers' Trainer can index, and the collator that makes batches of them.

    Attributes:
        rows: encoded sequences, or labelled items.
        collator: makes the model's inputs and `labels` of some rows.
        cuts: the rows that are longer than the model's inputs may be.
    """

    rows: Sequence[Any]
    collator: Callable[[Sequence[Any]], dict[str, torch.Tensor]]
    cuts: Cuts = NO_CUTS

    @classmethod
    def of_text(cls, rows: Sequence[Encoded], pad_id: int) -> TrainingSet:
        """Encoded sequences, of which only the `labels` are learned; one that was cut is as long as any may be."""
        encoded = [{"input_ids": list(row.ids), "labels": row.labels} for row in rows]
        return cls(
            encoded,
            PadCollator(pad_id),
            Cuts.among([[row] for row in rows], max((len(row.ids) for row in rows), default=0)),
        )

    @classmethod
    def of_classes(
        cls,
        items: Sequence[Any],
        preprocessor: Preprocessor,
        labels: Sequence[str],
        augment: Sequence[str] = (),
        seed: int = 0,
    ) -> TrainingSet:
        """Labelled texts or images; images are read anew for each batch, and augmented by a seed where asked for."""
        collator = LabelCollator(preprocessor, {label: index for index, label in enumerate(labels)})
        rows = Views(items, augment, seed) if augment else list(items)
        return cls(rows, collator, preprocessor.cuts(items))

    @property
    def is_preprocessed_by_batch(self) -> bool:
        """True if the collator tokenises or decodes; encoded sequences it only pads."""
        return isinstance(self.collator, LabelCollator)

    @property
    def of_images(self) -> bool:
        """True if the rows are images, which have no tokens."""
        return isinstance(self.collator, LabelCollator) and not self.collator.preprocessor.reads_text


@dataclass(frozen=True)
class LabelCollator:
    """Makes batches of labelled texts or images."""

    preprocessor: Preprocessor
    index: dict[str, int]

    def __call__(self, batch: Sequence[Any]) -> dict[str, torch.Tensor]:
        """Return the model's inputs and `labels`, int64 (B,)."""
        return {**self.preprocessor.batch(batch), "labels": torch.tensor([self.index[item.label] for item in batch])}


def train(
    model: torch.nn.Module,
    training_set: TrainingSet,
    recipe: Recipe,
    directory: Path,
    events: Events,
    callbacks: Sequence[TrainerCallback] = (),
    stopping: StopOnSignal | None = None,
) -> tuple[Cost, tuple[CurvePoint, ...]]:
    """Train the model in place; go on from a checkpoint under `directory` if there is one.

    Args:
        model: adapted or whole; on return it is in eval mode.
        training_set: what it learns.
        recipe: names method, learning rate, steps and batch size.
        directory: the run's folder; checkpoints lie in `checkpoints` under it.
        events: receives the progress.
        callbacks: regularisers; what they log as `retain_…` is in the curve.
        stopping: receives signals already, for a caller that saves the weights before it ends; None: one of its own.

    Returns:
        The cost, and the loss over the steps.

    Raises:
        InputError: the training settings are refused.
        TrainingError: the loss or the gradient stopped being finite.
        OutOfMemoryError: memory ran out.
        KeyboardInterrupt: it was interrupted, by a signal; a checkpoint was written after the step in hand.
    """
    arguments = training_arguments(recipe, directory, pictures=training_set.of_images)
    with tracking(arguments, recipe, directory) as reporter:
        after = [] if reporter is None else [reporter]  # after those whose numbers it is to see
        return _train(model, training_set, recipe, arguments, events, [*callbacks, *after], stopping)


def _train(
    model: torch.nn.Module,
    training_set: TrainingSet,
    recipe: Recipe,
    arguments: TrainingArguments,
    events: Events,
    callbacks: Sequence[TrainerCallback],
    stopping: StopOnSignal | None,
) -> tuple[Cost, tuple[CurvePoint, ...]]:
    """Train with the settings of a Trainer; see `train`."""
    _reset_peak()
    listening = contextlib.nullcontext() if stopping is not None else (stopping := StopOnSignal()).listening()
    try:
        trainer = PrefetchingTrainer(
            model=model,
            args=arguments,
            train_dataset=training_set.rows,
            data_collator=training_set.collator,
            threads=prefetching_threads(recipe.training, pictures=training_set.of_images)
            if training_set.is_preprocessed_by_batch
            else 0,
            callbacks=[
                *callbacks,
                SealCheckpoints(int(recipe.training.get("save_total_limit") or 1)),
                StepClock(),
                StopWhenNotFinite(),
                TimedCheckpoint(),
                ReportProgress(events, f"{recipe.method_name} learns"),
                stopping,
                *([TellEpoch(training_set.rows)] if isinstance(training_set.rows, Views) else []),
            ],
        )
    except REFUSALS as error:
        raise refused(error) from error
    trainer.remove_callback(PrinterCallback)  # the progress is reported by events
    if isinstance(training_set.collator, LabelCollator):
        # Most classifiers take the number of items and do not divide by it, though the Trainer then leaves out its own
        # division by accumulated batches and multiplies by the processes; as a mean the loss is right for all of them.
        trainer.model_accepts_loss_kwargs = False
    for callback in callbacks:
        if isinstance(callback, RegulariserCallback):
            callback.join(trainer)
    with listening:
        checkpoint = last_whole(Path(arguments.output_dir))
        try:
            with telling_memory("training"):
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except ImportError as error:  # of a setting whose package is asked for as training begins
            raise refused(error) from error
    model.eval()
    _check_finite(model, recipe)
    state = trainer.state
    if state.global_step == 0:
        raise TrainingError(
            f"no step of training was done with {len(training_set.rows)} rows and batches of {recipe.batch_size}: "
            "nothing was learned. See training.dataloader_drop_last, and max_steps."
        )
    clock = next(part for part in trainer.callback_handler.callbacks if isinstance(part, StepClock))
    curve = curve_of(state.log_history)
    cost = Cost(
        train_seconds=sum(clock.seconds),
        steps=state.global_step,
        step_seconds_median=clock.median,
        tokens=0 if training_set.of_images else int(state.num_input_tokens_seen),
        peak_rss_bytes=peak_rss_bytes(),
        final_train_loss=curve[-1].loss if curve else None,
    )
    return cost, curve


def curve_of(history: Sequence[dict[str, Any]]) -> tuple[CurvePoint, ...]:
    """The logged points with a loss; numbers that a callback logged at another step join the next of them."""
    found: list[CurvePoint] = []
    seen: dict[str, float] = {}
    for entry in history:
        seen |= {name: float(entry[key]) for name, keys in CURVE_KEYS.items() for key in keys if key in entry}
        if "loss" in entry:
            rate = float(entry.get("learning_rate", 0.0))
            found.append(CurvePoint(step=int(entry["step"]), loss=float(entry["loss"]), learning_rate=rate, **seen))
            seen = {}
    return tuple(found)


CURVE_KEYS = {
    "kl_nats_per_token": ("retain_penalty_kl", "retain_kl"),
    "kl_weight": ("retain_kl_weight",),
    "feature_kl_nats": ("retain_feature_kl",),
    "ewc_nats_per_token": ("retain_penalty_ewc",),
    "update_size": ("retain_update_size",),
}
"""Fields of the curve, and the names under which callbacks log them; of several the last counts."""


def _check_finite(model: torch.nn.Module, recipe: Recipe) -> None:
    broken = [name for name, p in model.named_parameters() if p.requires_grad and not torch.isfinite(p).all()]
    if broken:
        raise TrainingError(
            f"{len(broken)} trained parameters are not finite, {broken[0]} first, with learning rate {recipe.rate:g}: "
            "try a smaller learning rate, or --training.warmup_steps 10."
        )


def _reset_peak() -> None:
    """Forget the peak of an earlier run in the same process, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_rss_bytes() -> int:
    """Peak memory of this process during the run, in bytes; during its life where the peak cannot be reset."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
