"""The layers give the numbers that make_golden.py computed without them."""

import json
from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from torch import nn

from retain import LoRFAConfig, VeFAConfig

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
INPUT = {name: torch.tensor(value, dtype=torch.float64) for name, value in GOLDEN["input"].items()}


def adapted(config):
    linear = nn.Linear(5, 7, dtype=torch.float64)
    linear.weight.data.copy_(INPUT["weight"])
    linear.bias.data.copy_(INPUT["bias"])
    model = get_peft_model(nn.Sequential(linear), config)
    return model, model.base_model.model[0]


def close(found, part, name):
    expected = torch.tensor(GOLDEN[part][name], dtype=torch.float64)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ["vefa", "lorfa"])
def test_outputs_gradients_and_merged_weights(name):
    if name == "vefa":
        model, layer = adapted(VeFAConfig(target_modules=["0"]))
        trained = {"grad_lam": (layer.vefa_lambda["default"].weight, INPUT["lam"])}
    else:
        model, layer = adapted(LoRFAConfig(target_modules=["0"], r=2, lorfa_alpha=float(INPUT["alpha"])))
        trained = {
            "grad_A": (layer.lorfa_A["default"].weight, INPUT["A"]),
            "grad_B": (layer.lorfa_B["default"].weight, INPUT["B"]),
        }
    for parameter, value in trained.values():
        parameter.data.copy_(value)
    y = model(INPUT["x"])
    y.square().sum().div(2).backward()
    close(y, name, "y")
    for key, (parameter, _) in trained.items():
        close(parameter.grad, name, key)
    close(model.merge_and_unload()[0].weight, name, "weight")
