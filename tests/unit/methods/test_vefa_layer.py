"""VeFA's own layer beside its equations: one scale per input feature, combined exactly."""

import torch
from peft import get_peft_model
from torch import nn

from retain.methods.vefa.config import VeFAConfig
from retain.methods.vefa.layer import FeatureScale


def model():
    torch.manual_seed(0)
    return get_peft_model(nn.Sequential(nn.Linear(6, 8)), VeFAConfig(target_modules=["0"]))


def test_an_adapter_is_one_number_per_input_feature_and_nothing_before_training():
    layer = model().base_model.model[0]
    scale = layer.vefa_lambda["default"]
    assert type(scale) is FeatureScale
    assert scale.weight.shape == (6,)
    assert not scale.weight.any()
    assert layer.low_rank_change("default", layer.base_layer.weight) is None


def test_a_combination_is_the_weighted_sum():
    adapted = model()
    adapted.add_adapter("second", VeFAConfig(target_modules=["0"]))
    scales = adapted.base_model.model[0].vefa_lambda
    scales["default"].weight.data.fill_(0.5)
    scales["second"].weight.data.fill_(-0.25)
    adapted.base_model.add_weighted_adapter(["default", "second"], [2.0, 1.0], "both")
    assert torch.equal(adapted.base_model.model[0].vefa_lambda["both"].weight, torch.full((6,), 0.75))
