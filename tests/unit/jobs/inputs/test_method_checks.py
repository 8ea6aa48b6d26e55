"""Fields of methods, names of modules, and fields that no run reads."""

from __future__ import annotations

import pytest

from retain.jobs.inputs.method_checks import field_problems, rank_told, unmatched_names, unread_fields
from retain.methods import lookup
from retain.recipe import Recipe
from tiny import make_llama

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}


@pytest.mark.parametrize("name", [name for name in lookup.known_methods() if name != "full"])
def test_every_methods_types_can_be_looked_at(name):
    assert field_problems(name, {}) == []


def test_usual_fields_are_no_problem():
    fields = {"r": 4, "lora_alpha": 0.5, "lora_dropout": 0.1, "target_modules": r".*\.q_proj", "bias": "none"}
    assert field_problems("lora", fields) == []
    assert (
        field_problems("lora", {"target_modules": ["q_proj"], "use_rslora": True, "init_lora_weights": "pissa"}) == []
    )


def test_names_are_those_of_modules_or_their_ends():
    model = make_llama()
    assert unmatched_names(model, "lora", {"target_modules": ["q_proj", "model.layers.0.mlp.up_proj"]}) == []
    assert unmatched_names(model, "lora", {"target_modules": "all-linear"}) == []
    (told,) = unmatched_names(model, "lora", {"target_modules": ["q_proj"], "exclude_modules": ["lm_haed"]})
    assert told == "method lora: exclude_modules: no module of the model is named 'lm_haed'; did you mean lm_head?"


def test_a_rank_beyond_every_width_is_told():
    assert rank_told(make_llama(), "lora", {"r": 32}) == []
    assert "more than the 32 dimensions" in rank_told(make_llama(), "lora", {"r": 33})[0]


def test_what_one_of_several_methods_reads_is_read():
    assert unread_fields(Recipe(**BASIC, methods=("vefa", "sc-lora"), beta=0.5, rank=4, calibrate_tokens=99)) == []
    assert len(unread_fields(Recipe(**BASIC, methods=("vefa",), beta=0.5, rank=4, calibrate_tokens=99))) == 3


def test_defaults_are_not_told():
    assert unread_fields(Recipe(**BASIC)) == []
