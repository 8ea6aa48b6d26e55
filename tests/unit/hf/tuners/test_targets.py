"""Targets by PEFT's own matching, found without a change of the model, and the cure of those that cannot be adapted."""

import copy

import pytest
from torch import nn

from retain.errors import TargetError
from retain.hf.adapters.attach import attach
from retain.hf.tuners.targets import linear_names, lora_targets, unsupported
from tiny import make_llama

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def ends(layers):
    return list(dict.fromkeys(key.rpartition(".")[2] for key in layers))


def test_all_linear_layers_but_the_head_and_nothing_changes():
    model = make_llama()
    before = {key: type(module) for key, module in model.named_modules()}
    layers = lora_targets(model)
    assert ends(layers) == ALL
    assert len(layers) == 2 * len(ALL)
    assert {key: type(module) for key, module in model.named_modules()} == before


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"target_modules": ["q_proj", "up_proj"]}, ["q_proj", "up_proj"]),
        ({"target_modules": r".*layers\.1\..*_proj", "exclude_modules": ["down_proj"]}, ALL[:-1]),
        ({"target_modules": None}, ["q_proj", "v_proj"]),
    ],
)
def test_names_expressions_and_defaults(fields, expected):
    assert ends(lora_targets(make_llama(), fields)) == expected


def test_base_layers_are_found_under_adapters():
    model = attach(make_llama(), "lora", {"target_modules": ["q_proj"]})
    layers = lora_targets(model, {"target_modules": ["q_proj"]})
    assert all(type(layer) is nn.Linear for layer in layers.values())
    other = attach(make_llama(), "vefa", {"target_modules": ["q_proj"]})
    with pytest.raises(TargetError, match="already carries VeFALinear"):
        lora_targets(other, {"target_modules": ["q_proj"]})
    assert len(lora_targets(other, {"target_modules": ["q_proj"]}, under_any=True)) == 2


def test_no_match_lists_the_names_that_there_are():
    with pytest.raises(TargetError, match="No layer matches .*down_proj, gate_proj"):
        lora_targets(make_llama(), {"target_modules": ["nowhere"]})
    assert linear_names(make_llama()) == sorted([*ALL, "lm_head"])


def test_each_obstacle_has_its_cure():
    model = nn.ModuleDict({"words": nn.Embedding(3, 4), "image": nn.Conv2d(3, 3, 1), "linear": nn.Linear(2, 2)})
    assert unsupported("linear", model["linear"], model) is None
    assert "an embedding looks up token ids" in unsupported("words", model["words"], model)
    assert "Conv2d is not a linear layer" in unsupported("image", model["image"], model)
    experts = copy.deepcopy(model["linear"])
    experts.register_parameter("fused", nn.Parameter(model["image"].weight[..., 0].detach()))
    assert "fused experts" in unsupported("linear", experts, model)
