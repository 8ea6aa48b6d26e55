"""Callbacks of the training loop: step times, progress, a stop at numbers that are not finite, checkpoints in time."""

from __future__ import annotations

import contextlib
import math
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from retain.data.augmentation import Views
from retain.errors import TrainingError
from retain.events import Events, Task
from retain.train.ranks import anywhere, rank_and_world

SECONDS_BETWEEN_CHECKPOINTS = 60.0


class StepClock(TrainerCallback, ExportableState):  # type: ignore[misc]  # transformers is untyped here
    """Measures the wall time of each optimizer step in seconds, waiting for its batch included, checkpoints left out.

    The times travel with the checkpoints.
    """

    def __init__(self, seconds: list[float] | None = None) -> None:
        self.seconds = list(seconds or [])
        self._began = 0.0

    def state(self) -> dict[str, Any]:
        """The times, in the form that transformers restores callbacks from."""
        return {"args": {"seconds": self.seconds}, "attributes": {}}

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time of the step when a GPU has done it, too; the next begins with waiting for its batch."""
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds.append(now - self._began)
        self._began = now

    def on_save(self, *_: Any, **__: Any) -> None:
        """Start the clock anew: a checkpoint is no part of a step."""
        self._began = time.perf_counter()

    @property
    def median(self) -> float:
        """Median step time in seconds; 0 before the first step."""
        return statistics.median(self.seconds) if self.seconds else 0.0


class TimedCheckpoint(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Requests a checkpoint whenever the last one is older than `SECONDS_BETWEEN_CHECKPOINTS`."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = SECONDS_BETWEEN_CHECKPOINTS if seconds is None else seconds
        self._last = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Set `should_save` when it is time by the clock of the first process."""
        due = time.monotonic() - self._last >= self.seconds and rank_and_world()[0] == 0
        if anywhere(due) and state.global_step < state.max_steps:
            control.should_save = True
        return control

    def on_save(self, *_: Any, **__: Any) -> None:
        """Count from the end of the save, so that one that takes long does not follow itself."""
        self._last = time.monotonic()


class StopOnSignal(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Ends a training that is interrupted after the step in hand, with a checkpoint.

    Within `listening`, Ctrl-C and SIGTERM (a cluster's notice that a job is to end) are noted instead of raised. The
    next Ctrl-C is raised at once. After the last step there is nothing to go on with: what `listening` holds is ended
    first.
    """

    def __init__(self) -> None:
        self._stopping = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note signals instead of raising them, in the main thread; the only one that Python lets receive them.

        Raises:
            KeyboardInterrupt: one came after the last step.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._stopping:
            raise KeyboardInterrupt

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Request a checkpoint, in all processes after the same step."""
        self._stopping = anywhere(self._stopping)
        if self._stopping and state.global_step < state.max_steps:
            control.should_save = True
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """End the training when the checkpoint is whole.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        if self._stopping and state.global_step < state.max_steps:
            raise KeyboardInterrupt(f"a checkpoint was written at step {state.global_step} of {state.max_steps}")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            raise KeyboardInterrupt
        self._stopping = True


class StopWhenNotFinite(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Ends training with a clear error at the first logged loss or gradient norm that is not finite.

    An infinite gradient norm in float16 is no error: the scaler skips that step.
    """

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Check each logged loss and gradient norm.

        Raises:
            TrainingError: one is NaN or infinite.
        """
        for name in ("loss", "grad_norm"):
            value = (logs or {}).get(name)
            skipped = name == "grad_norm" and args.fp16
            if value is not None and not math.isfinite(float(value)) and not skipped:
                raise TrainingError(
                    f"the {name.replace('_', ' ')} became {value} at step {state.global_step} of {state.max_steps} "
                    f"with learning rate {args.learning_rate:g}: try a smaller learning rate, "
                    "--training.warmup_steps 10, or float32 (--dtype float32, no --training.fp16)."
                )


class ReportProgress(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Reports the steps that are done and the latest loss.

    Args:
        events: receives the progress.
        label: name of the task; the loss is added to it.
    """

    def __init__(self, events: Events, label: str) -> None:
        self._events = events
        self._label = label
        self._task: Task | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Begin the task at the step that training begins or goes on at."""
        self._task = self._events.task(self._label, total=state.max_steps, done=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Report the step."""
        if self._task is not None:
            self._task.update(done=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Report the loss."""
        if self._task is not None and logs and "loss" in logs:
            self._task.update(name=f"{self._label} · loss {float(logs['loss']):.3f}")


class TellEpoch(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Says which epoch begins to images that each epoch sees otherwise; also where a training goes on within one."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Pass it on."""
        del args, control, kwargs
        self._views.begin_epoch(math.floor((state.epoch or 0.0) + ROUNDING))


ROUNDING = 1e-6
"""An epoch's number may be a little less than whole where it ends."""
