"""SMoA with factors tied over its masks is PEFT's HiRA: the reason why there is no SMoA here."""

import pytest
import torch
from peft import HiraConfig, get_peft_model
from torch import nn


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_tied_factors_over_all_masks_are_hira(groups):
    torch.manual_seed(groups)
    model = get_peft_model(nn.Sequential(nn.Linear(10, 12, bias=False)).double(), HiraConfig(r=2, target_modules=["0"]))
    layer = model.base_model.model[0]
    A, B = (getattr(layer, f"hira_{side}")["default"] for side in "AB")
    with torch.no_grad():
        A.normal_()
        B.normal_()
    W0 = layer.base_layer.weight.detach()
    U, S, Vt = torch.linalg.svd(W0, full_matrices=False)
    energy = S.cumsum(0) / S.sum()  # quantiles of it cut the singular values into groups
    group = (energy * groups).ceil().clamp(1, groups).long() - 1
    masks = [(U[:, group == k] * S[group == k]) @ Vt[group == k] for k in range(groups)]
    assert torch.allclose(sum(masks), W0, atol=1e-12)
    smoa = sum(mask * (B @ A) for mask in masks)
    x = torch.randn(5, 10, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(model(x), x @ (W0 + smoa).T, atol=1e-12)
        assert not torch.allclose(model(x), x @ W0.T, atol=1e-2)
