"""A seal on a base: any changed bit is seen."""

import torch

from retain.jobs.sweep.seal import Seal, is_bare
from tiny import make_llama


def test_a_seal_sees_any_bit():
    model = make_llama()
    seal = Seal(model)
    assert seal.holds(model)
    weight = model.model.layers[0].mlp.up_proj.weight
    with torch.no_grad():
        weight.view(torch.int32)[3, 4] ^= 1
    assert not seal.holds()
    with torch.no_grad():
        weight.view(torch.int32)[3, 4] ^= 1
    assert seal.holds(model)
    model.model.layers[0].mlp.up_proj.weight = torch.nn.Parameter(weight.detach().clone())
    assert not seal.holds(model)


def test_a_base_that_carries_an_adapter_is_not_bare():
    model = make_llama()
    seal = Seal(model)
    assert is_bare(model, seal)
    model.peft_config = {}
    assert not is_bare(model, seal)
