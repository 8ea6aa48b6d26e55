"""Experts and routers by their form."""

import pytest
import torch
from torch import nn

from retain.hf.models.experts import expert_names, is_experts, is_router


class Fused(nn.Module):
    def __init__(self, experts=4):
        super().__init__()
        self.up, self.down = (nn.Parameter(torch.ones(experts, 3, 5)) for _ in range(2))
        self.bias = nn.Parameter(torch.ones(experts, 3))


class Router(nn.Module):
    def __init__(self, experts=4):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(experts, 5))


class Over(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer


def test_the_matrices_of_experts_are_named():
    assert expert_names(Fused()) == ["up", "down"]
    assert is_experts(Fused())


@pytest.mark.parametrize("module", [nn.Conv1d(2, 3, 4), nn.Linear(3, 3), nn.LSTM(3, 3), Fused(1)])
def test_kernels_layers_and_tables_of_positions_are_no_experts(module):
    assert not is_experts(module)


def test_a_router_has_a_row_for_each_expert_beside_it():
    block = nn.ModuleDict({"gate": Router(), "experts": Fused()})
    assert is_router(block["gate"], block)
    assert is_router(block["gate"], nn.ModuleDict({"gate": block["gate"], "experts": Over(Over(Fused()))}))
    assert not is_router(Router(3), nn.ModuleDict({"gate": Router(3), "experts": Fused()}))
    assert not is_router(block["gate"], nn.ModuleDict({"gate": block["gate"]}))
    linear = nn.Linear(5, 4)
    assert not is_router(linear, nn.ModuleDict({"gate": linear, "experts": Fused()}))
