"""The change of a layer's input by a feature-space adapter, layer by layer."""

import pytest
import torch

from retain.evaluate.drift.feature_scales import FEATURES_NAMED, feature_scale_layers
from retain.hf.adapters.attach import attach
from tiny import make_llama

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture
def tuned():
    model = attach(make_llama(), "vefa", {})
    module = model.get_submodule(LAYER)
    with torch.no_grad():
        module.vefa_lambda["default"].weight.zero_()
        module.vefa_lambda["default"].weight.view(-1)[3] = 0.5
    return model


def test_one_scaled_feature_is_all_of_it(tuned):
    x = torch.zeros(2, 32)
    x[:, 3], x[:, 4] = 3.0, 4.0
    (layer,) = feature_scale_layers(tuned, {LAYER: x})
    assert layer.name == "model.layers.0.self_attn.q_proj"
    assert layer.amount == pytest.approx(0.5 * 3 / 5)  # |T x| / |x|
    assert (layer.share, layer.features[0]) == (1, (3, 1.0))
    assert len(layer.features) == FEATURES_NAMED


def test_inputs_that_are_zero_have_no_amount(tuned):
    (layer,) = feature_scale_layers(tuned, {LAYER: torch.zeros(2, 32)})
    assert (layer.amount, layer.share, layer.features) == (0, 0, ())


def test_without_inputs_or_adapter_there_is_none(tuned):
    assert feature_scale_layers(tuned, {}) == ()
    assert feature_scale_layers(make_llama(), {LAYER: torch.ones(1, 32)}) == ()
