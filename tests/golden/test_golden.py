"""The layers give the numbers that make_golden.py computed without them."""

import json
from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from torch import nn

from retain import LoRFAConfig, RotationConfig, VeFAConfig

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


@pytest.mark.parametrize("form", ["block", "kronecker"])
def test_a_rotation(form):
    part = f"rotation_{form}"
    given = {key: torch.tensor(value, dtype=torch.float64) for key, value in GOLDEN[part].items()}
    linear = nn.Linear(6, 7, dtype=torch.float64)
    linear.weight.data.copy_(given["W0"])
    linear.bias.data.copy_(given["bias"])
    config = RotationConfig(target_modules=["0"], form=form, block_size=3, kronecker_factors=2)
    model = get_peft_model(nn.Sequential(linear), config)
    K = model.base_model.model[0].rotation_K["default"].weight
    K.data.copy_(given["K"].view(-1, 1))
    y = model(given["x"])
    y.square().sum().div(2).backward()
    close(y, part, "y")
    torch.testing.assert_close(K.grad.flatten(), given["grad_K"], rtol=1e-8, atol=1e-8)  # by differences
    close(model.merge_and_unload()[0].weight, part, "weight")
