"""What all regularisers share: numbers in the log, a memory in checkpoints, refusals of models and batches."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import TrainerState, TrainingArguments

from retain.errors import InputError
from retain.train.ranks import mean_over_ranks, rank_and_world
from retain.train.regularise.callback import RegulariserCallback, check_batches, fingerprint, refuse_sharded

BATCH = {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.tensor([[1, 1]])}


class Counting(RegulariserCallback):
    """Remembers one number and the losses that it saw."""

    key = "counting"

    def __init__(self, number=0):
        super().__init__()
        self.number = number
        self.losses = []

    def memory(self):
        return {"number": self.number}

    def recall(self, memory):
        self.number = memory["number"]

    def observe_loss(self, loss):
        self.losses.append(loss)


@pytest.fixture
def arguments(tmp_path):
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True)


def test_numbers_go_into_the_next_log_of_a_loss_only(arguments):
    callback, state = Counting(), TrainerState(global_step=4)
    state.log_history = [{"loss": 2.0, "step": 4}]
    callback.note(retain_kl=0.1)
    callback.note(retain_kl=0.2, retain_weight=3.0)
    other, logs = {"train_runtime": 1.0}, {"loss": 2.0}
    callback.on_log(arguments, state, logs=other)
    assert other == {"train_runtime": 1.0}
    callback.on_log(arguments, state, logs=logs)
    assert logs == {"loss": 2.0, "retain_kl": 0.2, "retain_weight": 3.0}
    assert state.log_history == [{**logs, "step": 4}]
    assert callback.losses == [2.0]
    again = {"loss": 1.0}
    callback.on_log(arguments, state, logs=again)
    assert again == {"loss": 1.0}


def test_numbers_that_no_log_took_are_in_the_history(arguments):
    callback, state = Counting(), TrainerState(global_step=5, epoch=1.0)
    callback.flush(state)
    assert state.log_history == []
    callback.note(retain_kl=0.3)
    callback.flush(state)
    assert state.log_history == [{"retain_kl": 0.3, "epoch": 1.0, "step": 5}]
    callback.flush(state)
    assert len(state.log_history) == 1


def test_the_memory_comes_back_from_a_checkpoint():
    state = TrainerState()
    Counting(7).remember(state)
    resumed = Counting()
    resumed.resume(state)
    assert resumed.number == 7
    fresh = Counting(1)
    fresh.resume(TrainerState())
    assert fresh.number == 1


def test_it_stands_before_the_reporters_and_once():
    class Bare:  # a Trainer without anything else; a weak reference to it is kept
        callback_handler = SimpleNamespace(callbacks=["reporter"])

    trainer = Bare()
    callback = Counting()
    assert callback.attach(trainer) is callback
    callback.attach(trainer)
    assert trainer.callback_handler.callbacks == [callback, "reporter"]


@pytest.mark.parametrize("batches", [[], [{}], BATCH, [BATCH, {}]])
def test_batches_without_content_are_refused(batches):
    with pytest.raises(InputError, match="replay: batches must be a sequence"):
        check_batches(batches, "replay")


def test_batches_are_known_by_their_content():
    assert fingerprint([BATCH]) == fingerprint([dict(reversed(BATCH.items()))])
    others = ([BATCH, BATCH], [{**BATCH, "input_ids": torch.tensor([[1, 3]])}], [{"input_ids": BATCH["input_ids"]}])
    assert len({fingerprint(batches) for batches in ([BATCH], *others)}) == 4
    assert check_batches((BATCH,), "replay") == [BATCH]


def test_sharded_models_are_refused(arguments):
    refuse_sharded(arguments, nn.Linear(2, 2), "a KL penalty")
    arguments.deepspeed = "some.json"
    with pytest.raises(InputError, match="a KL penalty runs the model outside"):
        refuse_sharded(arguments, nn.Linear(2, 2), "a KL penalty")


def test_one_process_is_its_own_mean():
    assert rank_and_world() == (0, 1)
    assert mean_over_ranks(0.1) == 0.1
