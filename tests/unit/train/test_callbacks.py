"""Callbacks of the training loop: step times, progress, a stop at numbers that are not finite, timed checkpoints."""

import math

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from retain.errors import TrainingError
from retain.events import Event, Events
from retain.train import callbacks as module
from retain.train.callbacks import ReportProgress, StepClock, StopWhenNotFinite, TimedCheckpoint


@pytest.fixture
def arguments(tmp_path):
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True, learning_rate=0.5)


def test_a_step_is_timed_from_the_one_before_without_a_checkpoint(monkeypatch):
    times = iter([0.0, 2.0, 5.0, 9.0, 10.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(times))
    clock = StepClock()
    assert clock.median == 0.0
    clock.on_train_begin()
    clock.on_step_end()
    clock.on_step_end()
    clock.on_save()
    clock.on_step_end()
    assert clock.seconds == [2.0, 3.0, 1.0]
    assert clock.median == 2.0


def test_a_step_ends_when_the_gpu_has_done_it(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(module.torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(module.torch.cuda, "synchronize", lambda: now.append(now.pop() + 3.0))
    clock = StepClock()
    clock.on_train_begin()
    clock.on_step_end()
    assert clock.seconds == [3.0]


def test_step_times_travel_with_a_checkpoint():
    clock = StepClock([1.0, 2.0])
    again = StepClock(**clock.state()["args"])
    assert again.seconds == clock.seconds
    assert again.seconds is not clock.seconds


def test_a_checkpoint_is_requested_by_the_clock_and_counted_from_its_end(arguments, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    callback = TimedCheckpoint(60.0)

    def requested(step):
        state = TrainerState(global_step=step, max_steps=10)
        return callback.on_step_end(arguments, state, TrainerControl()).should_save

    now[0] = 59.0
    assert not requested(1)
    now[0] = 60.0
    assert requested(2)
    assert not requested(10), "the last step is saved anyway"
    now[0] = 100.0
    callback.on_save()
    now[0] = 159.0
    assert not requested(3)


@pytest.mark.parametrize("logs", [{"loss": math.nan}, {"loss": 1.0, "grad_norm": math.inf}, {"loss": "inf"}])
def test_a_number_that_is_not_finite_ends_training_with_the_cure(arguments, logs):
    state = TrainerState(global_step=7, max_steps=9)
    with pytest.raises(TrainingError, match=r"at step 7 of 9 with learning rate 0.5: try a smaller learning rate"):
        StopWhenNotFinite().on_log(arguments, state, TrainerControl(), logs)


def test_finite_numbers_and_a_skipped_step_of_float16_go_on(arguments):
    state = TrainerState()
    for logs in (None, {}, {"loss": 1.0, "grad_norm": 2.0}):
        StopWhenNotFinite().on_log(arguments, state, TrainerControl(), logs)
    arguments.fp16 = True
    StopWhenNotFinite().on_log(arguments, state, TrainerControl(), {"loss": 1.0, "grad_norm": math.inf})
    with pytest.raises(TrainingError):
        StopWhenNotFinite().on_log(arguments, state, TrainerControl(), {"loss": math.inf})


def test_progress_begins_where_training_goes_on_and_shows_the_loss(arguments):
    seen = []
    callback = ReportProgress(Events(seen.append), "lora learns")
    state = TrainerState(global_step=3, max_steps=5)
    callback.on_step_end(arguments, state)  # before training began there is nothing to report
    callback.on_train_begin(arguments, state)
    state.global_step = 4
    callback.on_step_end(arguments, state)
    callback.on_log(arguments, state, TrainerControl(), {"loss": 1.25})
    callback.on_log(arguments, state, TrainerControl(), {"train_runtime": 3.0})
    assert seen == [
        Event(0, "lora learns", 3, 5),
        Event(0, "lora learns", 4, 5),
        Event(0, "lora learns · loss 1.250", 4, 5),
    ]
