"""What a text goes through, asked of a hollow twin of the model."""

import copy

import pytest
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from retain.hf.adapters.attach import attach
from retain.hf.models.reach import unreached
from tiny import make_bert, make_llama, make_vit


class Config(PretrainedConfig):
    model_type = "field-odd"

    def __init__(self, routed=False, breaks=False, **more):
        super().__init__(**more)
        self.vocab_size, self.routed, self.breaks = 16, routed, breaks


class Odd(PreTrainedModel):
    """A user's own model: an ear that text does not reach, and layers of which one is chosen."""

    config_class = Config
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(16, 8)
        self.ear = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.tail = nn.Linear(8, 16)
        self.scale = torch.ones(8)  # a tensor that is no buffer
        self.post_init()

    def forward(self, input_ids, attention_mask=None, sound=None):
        if self.config.breaks:
            raise ValueError("not without sound")
        x = self.words(input_ids) * self.scale
        if sound is not None:
            x = x + self.ear(sound)
        return self.tail(self.experts[int(input_ids.sum()) % 3](x))


def test_an_ear_is_not_reached_and_layers_to_choose_from_are():
    model = Odd(Config())
    calls = []
    model.tail.register_forward_hook(lambda *_: calls.append(1))
    assert unreached(model) == ["ear"]
    assert not calls
    with torch.device("meta"):
        empty = Odd(Config())
    assert unreached(empty) == ["ear"]


def test_a_pass_that_cannot_be_made_leaves_nothing_out():
    assert unreached(Odd(Config(breaks=True))) == []


@pytest.mark.parametrize("make", [make_llama, make_bert, make_vit])
def test_models_of_one_kind_of_input_are_reached_whole(make):
    assert unreached(make()) == []


@pytest.mark.parametrize("method", ["lora", "vefa", "oft"])
def test_adapters_do_not_hide_what_is_reached(method):
    fields = {"target_modules": ["tail"], "modules_to_save": ["words"]}
    model = attach(Odd(Config()), method, fields | ({"r": 2} if method == "lora" else {}))
    before = copy.deepcopy(model.state_dict())
    assert unreached(model) == ["ear"]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_other_modules_than_transformers_models_are_not_asked():
    assert unreached(nn.Linear(2, 2)) == []
