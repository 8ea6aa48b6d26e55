"""The kinds of an adapter configuration's values: what PEFT itself writes is never refused."""

import json

import pytest
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from retain.hf.adapters.attach import config_class, known_methods
from retain.hf.adapters.config_file import kind_problems, size_problems
from retain.hf.adapters.folder import Stored

NEEDED = {"adalora": {"total_step": 5}, "cpt": {"task_type": "CAUSAL_LM"}}


def test_every_method_is_tried():
    assert len(known_methods()) == len(PEFT_TYPE_TO_CONFIG_MAPPING)


@pytest.mark.parametrize("method", known_methods())
def test_what_peft_writes_is_as_it_should_be(method, tmp_path):
    config_class(method)(**NEEDED.get(method, {})).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert kind_problems(method, values) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"lora_alpha": 0.5},
        {"lora_alpha": 16.0},
        {"init_lora_weights": "pissa_niter_4"},
        {"a_field_of_a_newer_version": [1]},
        {"rank_pattern": {"q_proj": 4}},
        {"target_modules": "all-linear"},
        {"layers_to_transform": [0, 1]},
        {"layer_replication": [[0, 2]]},
    ],
)
def test_what_people_write_by_hand_is_left_alone(fields):
    assert kind_problems("lora", fields) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"r": "8"}, "r is '8'; expected a number"),
        ({"lora_alpha": float("inf")}, "expected a number"),
        ({"target_modules": [None]}, "expected text or a list (text each) or null"),
        ({"use_dora": "yes"}, "expected true or false"),
        ({"alpha_pattern": {"q_proj": "x"}}, "expected an object or null"),
        ({"bias": 3}, "expected text"),
    ],
)
def test_a_value_of_another_kind_is_told_in_plain_words(fields, told):
    assert told in kind_problems("lora", fields)[0]


def test_a_size_that_no_tensor_has_is_told():
    stored = {"a": Stored((4, 32), is_float=True)}
    assert size_problems({"peft_type": "LORA", "r": 32}, stored) == []
    assert "r is 33" in size_problems({"peft_type": "LORA", "r": 33}, stored)[0]
    assert size_problems({"peft_type": "LOKR", "r": 10**6}, stored) == []
