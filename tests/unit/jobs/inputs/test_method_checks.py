"""Fields of methods, names of modules, and fields that no run reads."""

from __future__ import annotations

import pytest

from retain.errors import TargetError
from retain.jobs.inputs.method_checks import field_problems, rank_told, unmatched_names, unread_fields, widths_told
from retain.methods import lookup
from retain.methods.rotation.config import RotationConfig
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


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (32, ["block_size=32 does not divide every width: features a block are 24 of 48."]),
        (7, ["block_size=7 does not divide every width: features a block are 4 of 32, 6 of 48."]),
        (16, []),
        (48, ["block_size=48 does not divide every width: features a block are 32 of 32."]),
    ],
)
def test_blocks_that_are_smaller_than_asked_are_told(size, told):
    adapted = lookup.check(make_llama(), "rotation", {"block_size": size})
    assert widths_told(adapted, "rotation") == [f"method rotation: {sentence}" for sentence in told]


@pytest.mark.parametrize("width", [37, 41, 35])
def test_a_width_that_divides_into_no_blocks_is_refused_rather_than_left_unrotated(width):
    config = RotationConfig(block_size=4)
    smallest = 5 if width == 35 else width
    with pytest.raises(TargetError, match=f"the smallest block that divides them is {smallest}"):
        config.sizes(width)
    assert RotationConfig(block_size=smallest).sizes(width) == (smallest,) * (width // smallest)
    assert RotationConfig(form="kronecker").sizes(width)


def test_a_rank_beyond_every_width_is_told():
    assert rank_told(make_llama(), "lora", {"r": 32}) == []
    assert "more than the 32 dimensions" in rank_told(make_llama(), "lora", {"r": 33})[0]


def test_what_one_of_several_methods_reads_is_read():
    assert unread_fields(Recipe(**BASIC, methods=("vefa", "sc-lora"), beta=0.5, rank=4, calibrate_tokens=99)) == []
    assert len(unread_fields(Recipe(**BASIC, methods=("vefa",), beta=0.5, rank=4, calibrate_tokens=99))) == 3


def test_defaults_are_not_told():
    assert unread_fields(Recipe(**BASIC)) == []
