"""Trainer settings: types, ranges, and a Trainer built for a trial."""

from __future__ import annotations

import pytest
import torch
from transformers import TrainingArguments

from retain.errors import InputError
from retain.recipe import Recipe
from retain.train.arguments import RANGES, REMOVED, setting_problems, training_arguments, try_settings


def recipe(**training):
    return Recipe(model="m", train="t", test="e", output="o", method="lora", training=training)


def test_settings_that_are_meant_are_no_problem(tmp_path):
    training = {"warmup_steps": 0.1, "weight_decay": 0, "optim": "sgd", "lr_scheduler_type": "cosine", "bf16": True}
    assert setting_problems(training) == []
    made = training_arguments(recipe(**training), tmp_path)
    assert (made.warmup_steps, made.save_strategy.value) == (0.1, "no")


def test_a_trial_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state()
    try_settings(recipe())
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("training", "told"),
    [
        ({"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"nope": 1}}, "nope"),
        ({"optim": "adamw_torch", "optim_args": "nonsense"}, "training"),
        ({"dataloader_persistent_workers": True}, "persistent"),
    ],
)
def test_what_only_shows_when_it_is_built_is_told(training, told):
    with pytest.raises(InputError, match=told):
        try_settings(recipe(**training))


def test_the_tables_name_fields_of_this_transformers():
    assert RANGES.keys() <= TrainingArguments.__dataclass_fields__.keys()
    assert not REMOVED.keys() & TrainingArguments.__dataclass_fields__.keys()
