"""What is watched while training runs: its cost, its progress, its health, and a checkpoint at least once a minute."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

from rich.progress import Progress, TaskID
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from retain.errors import TrainingError

SECONDS_BETWEEN_CHECKPOINTS = 60.0


class StepClock(TrainerCallback, ExportableState):  # type: ignore[misc]  # transformers is untyped here
    """Measures each optimizer step's wall time in seconds, with what it waits for its batch, without checkpoints.

    What was measured travels with the checkpoints.
    """

    def __init__(self, seconds: list[float] | None = None) -> None:
        self.seconds = list(seconds or [])
        self._began = 0.0

    def state(self) -> dict[str, Any]:
        """What a checkpoint stores, in the form that transformers restores callbacks from."""
        return {"args": {"seconds": self.seconds}, "attributes": {}}

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """One step is done, the next begins with waiting for its batch."""
        now = time.perf_counter()
        self.seconds.append(now - self._began)
        self._began = now

    def on_save(self, *_: Any, **__: Any) -> None:
        """A checkpoint is no part of a step."""
        self._began = time.perf_counter()

    @property
    def median(self) -> float:
        """Median step time in seconds; 0 before the first step."""
        return statistics.median(self.seconds) if self.seconds else 0.0


class TimedCheckpoint(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Asks for a checkpoint whenever the last one is older than `SECONDS_BETWEEN_CHECKPOINTS`."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = SECONDS_BETWEEN_CHECKPOINTS if seconds is None else seconds
        self._last = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Set `should_save` when it is time."""
        if time.monotonic() - self._last >= self.seconds and state.global_step < state.max_steps:
            control.should_save = True
        return control

    def on_save(self, *_: Any, **__: Any) -> None:
        """Count from the end of the save: one that takes long must not follow itself."""
        self._last = time.monotonic()


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
        """Look at each logged number.

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


class ProgressBar(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Shows steps done, the latest loss and the time left on a rich progress display."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._label = label
        self._bar: TaskID | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Open the bar at the step that training begins or goes on at."""
        self._bar = self._progress.add_task(self._label, total=state.max_steps, completed=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._progress.update(self._bar, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Show the loss."""
        if self._bar is not None and logs and "loss" in logs:
            self._progress.update(self._bar, description=f"{self._label} · loss {float(logs['loss']):.3f}")
