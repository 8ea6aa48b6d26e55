import pytest
import torch
from transformers import TrainerCallback

from retain.data.examples import Example
from retain.data.tokens import IGNORED, encode_example
from retain.errors import InputError, TrainingError
from retain.events import SILENT
from retain.recipe import Recipe
from retain.train import loop
from retain.train.arguments import training_arguments
from retain.train.callbacks import StepClock
from retain.train.loop import PadCollator, TrainingSet, train
from tiny import make_llama, make_tokenizer

TOKENIZER = make_tokenizer()
ROWS = [encode_example(TOKENIZER, Example(prompt=f"word{i} a", completion=" b c"), 32) for i in range(24)]
LESSONS = TrainingSet.of_text(ROWS, pad_id=0)


def recipe(**change):
    values = {"model": "m", "train": "t", "test": "e", "output": "o", "max_steps": 6, "batch_size": 4, **change}
    values.setdefault("method", "full")
    return Recipe(**{"learning_rate": 1e-2, **values})


@pytest.fixture
def quiet():
    return SILENT


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_collator_masks_padding_in_attention_and_loss():
    rows = [{"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}, {"input_ids": [8], "labels": [8]}]
    batch = PadCollator(pad_id=0)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]


def test_training_learns_and_says_what_it_cost(tmp_path, quiet):
    model = make_llama()
    cost, curve = train(model, LESSONS, recipe(max_steps=20), tmp_path, quiet)
    assert cost.steps == 20
    assert [point.step for point in curve] == [5, 10, 15, 20]
    assert curve[0].loss > curve[-1].loss == cost.final_train_loss
    assert curve[0].learning_rate > curve[-1].learning_rate > 0
    assert cost.final_train_loss < 2.0
    assert cost.tokens == 20 * 4 * len(ROWS[0].ids)
    assert cost.train_seconds > 0
    assert cost.step_seconds_median > 0
    assert not model.training


def test_the_seed_decides_the_result(tmp_path, quiet):
    results = []
    for seed in (0, 0, 1):
        model = make_llama()
        train(model, LESSONS, recipe(seed=seed), tmp_path / str(len(results)), quiet)
        results.append(weights(model))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


class StopAt(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 4:
            raise KeyboardInterrupt


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path, quiet, monkeypatch):
    whole = make_llama()
    train(whole, LESSONS, recipe(), tmp_path / "whole", quiet)
    monkeypatch.setattr("retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "StopWhenNotFinite", StopAt)
        with pytest.raises(KeyboardInterrupt):
            train(make_llama(), LESSONS, recipe(), tmp_path / "cut", quiet)
    assert list((tmp_path / "cut" / "checkpoints").glob("checkpoint-*"))
    resumed = make_llama()
    cost, _ = train(resumed, LESSONS, recipe(), tmp_path / "cut", quiet)
    assert cost.steps == 6
    assert torch.equal(weights(whole), weights(resumed))


def test_a_loss_that_is_not_finite_ends_with_a_clear_error(tmp_path, quiet):
    model = make_llama()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="smaller learning rate"):
        train(model, LESSONS, recipe(), tmp_path, quiet)


def test_a_checkpoint_that_was_cut_off_is_not_resumed_from(tmp_path, quiet):
    broken = tmp_path / "checkpoints" / "checkpoint-3"
    broken.mkdir(parents=True)
    (broken / "config.json").write_text("{}", encoding="utf-8")
    assert train(make_llama(), LESSONS, recipe(), tmp_path, quiet)[0].steps == 6
    assert not broken.exists()


def test_weights_that_are_not_finite_in_the_last_step_are_found(tmp_path, quiet):
    with pytest.raises(TrainingError, match="not finite"):
        train(make_llama(), LESSONS, recipe(learning_rate=1e38, max_steps=1), tmp_path, quiet)


def test_settings_that_transformers_refuses_are_the_users_to_mend(tmp_path):
    with pytest.raises(InputError, match="no_such_field"):
        training_arguments(recipe(training={"no_such_field": 1}), tmp_path)
    with pytest.raises(InputError, match="optim"):
        training_arguments(recipe(training={"optim": "no_such_optimizer"}), tmp_path)


def test_a_step_takes_what_it_waits_for_its_batch_and_no_checkpoint(monkeypatch):
    times = iter([0.0, 3.0, 7.0, 20.0, 22.0])
    monkeypatch.setattr("retain.train.callbacks.time.perf_counter", lambda: next(times))
    clock = StepClock()
    clock.on_train_begin()
    clock.on_step_end()
    clock.on_step_end()
    clock.on_save()
    clock.on_step_end()
    assert clock.seconds == [3.0, 4.0, 2.0]
    assert clock.median == 3.0


def test_a_step_takes_the_passes_that_a_regulariser_adds_before_and_after_it(tmp_path, quiet, monkeypatch):
    """Which the time that advise tells of a whole training rests on: a KL penalty reads text to keep in each step."""
    now = [0.0]
    monkeypatch.setattr("retain.train.callbacks.time.perf_counter", lambda: now[0])

    class Penalty(TrainerCallback):
        def on_step_begin(self, *_, **__):
            now[0] += 5.0

        def on_step_end(self, *_, **__):
            now[0] += 1.0

    cost, _ = train(make_llama(), LESSONS, recipe(max_steps=3), tmp_path, quiet, [Penalty()])
    assert (cost.step_seconds_median, cost.train_seconds) == (6.0, 18.0)
