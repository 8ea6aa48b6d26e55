"""PEFT's LoRA layers change their class and nothing else, and are given back; the contract compares the numbers."""

import pytest
import torch
from peft import LoraConfig
from peft.tuners import lora
from torch import nn

from retain.errors import InputError
from retain.hf.adapters.accelerate import FusedLoraLinear, accelerate, decelerate, has_lora
from retain.hf.adapters.attach import attach
from tiny import make_llama

IDS = torch.arange(2, 18).view(2, 8)


def layers(model, kind):
    return [module for module in model.modules() if type(module) is kind]


def test_layers_change_their_class_and_are_given_back():
    model = attach(make_llama(), "lora", {"r": 2, "init_lora_weights": False}).eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected = model(IDS).logits
    assert has_lora(model)
    assert accelerate(model) == 14
    assert accelerate(model) == 0
    assert (len(layers(model, FusedLoraLinear)), len(layers(model, lora.Linear))) == (14, 0)
    assert has_lora(model)
    torch.testing.assert_close(model(IDS).logits, expected, rtol=0, atol=1e-5)
    assert decelerate(model) == 14
    assert torch.equal(model(IDS).logits, expected)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_further_adapter_goes_on_all_accelerated_layers():
    """PEFT tells the layers of all-linear by their class's name, which holds Linear."""
    model = attach(make_llama(), "lora", {"r": 2})
    accelerate(model)
    model.add_adapter("second", LoraConfig(r=2, target_modules="all-linear"))
    assert all("second" in layer.lora_A for layer in layers(model, FusedLoraLinear))
    assert len(layers(model, FusedLoraLinear)) == 14


def test_a_layer_whose_forward_was_replaced_is_left_alone():
    model = attach(make_llama(), "lora", {"r": 2, "target_modules": ["q_proj"]})
    first = layers(model, lora.Linear)[0]
    first.forward = first.forward
    assert accelerate(model) == 1
    assert type(first) is lora.Linear


def test_a_model_without_such_layers_is_refused():
    assert not has_lora(make_llama())
    for model in (nn.Linear(2, 2), attach(make_llama(), "vefa", {})):
        with pytest.raises(InputError, match="nothing to accelerate"):
            accelerate(model)
