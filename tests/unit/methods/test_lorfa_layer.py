"""LoRFA's own layer beside its equations: ranks and scales by layer, the low-rank form, refusals."""

import pytest
import torch
from peft import get_peft_model
from torch import nn

from retain.errors import TargetError
from retain.methods.lorfa.config import LoRFAConfig
from retain.methods.lorfa.layer import LoRFALinear


def model(**fields):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4))
    return get_peft_model(net, LoRFAConfig(target_modules=["0", "1"], **fields)).base_model.model


def test_patterns_give_a_layer_its_own_rank_and_alpha():
    first, second = model(r=4, lorfa_alpha=8, rank_pattern={"1": 2}, alpha_pattern={"1": 6})
    assert (first.lorfa_A["default"].out_features, first.scaling["default"]) == (4, 2.0)
    assert (second.lorfa_A["default"].out_features, second.scaling["default"]) == (2, 3.0)


def test_the_change_of_the_weight_is_the_product_of_its_low_rank_form():
    layer = model(r=3)[0]
    layer.lorfa_B["default"].weight.data.normal_()
    W0 = layer.base_layer.weight.detach()
    B, A = layer.low_rank_change("default", W0)
    assert (B.shape, A.shape) == ((8, 3), (3, 6))
    torch.testing.assert_close(B @ A, layer.change("default", W0))


def test_a_rank_above_the_inputs_is_refused():
    with pytest.raises(TargetError, match="0: rank 7 is larger than the layer's 6 inputs"):
        model(r=7)
    assert LoRFALinear.problems(LoRFAConfig(r=6), "0", 6) == []


def test_its_fields_are_checked():
    with pytest.raises(TargetError, match=r"rank_pattern\['q'\]=0"):
        LoRFAConfig(rank_pattern={"q": 0})
    with pytest.raises(TargetError, match="a dropout lies in"):
        LoRFAConfig(lorfa_dropout=1.0)
