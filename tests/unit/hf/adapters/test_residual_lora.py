"""The halves of a residual LoRA: joined to the factors of rank 2r and parted again, in memory and in state dicts."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from retain.hf.adapters.residual_lora import ResidualDown, ResidualUp, make_residual, residual_layers


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("half", "shape"), [(ResidualDown, (2, 5)), (ResidualUp, (6, 2))])
def test_a_half_is_joined_and_parted(half, shape):
    part = half(randn(*shape), randn(*shape, seed=1))
    initial, delta = half.parted(part.weight.detach())
    torch.testing.assert_close(initial, part.initial)
    assert torch.equal(delta, part.delta)
    assert part.weight.shape == ((4, 5) if half is ResidualDown else (6, 4))
    assert (part.out_features, part.in_features) == tuple(part.weight.shape)


@pytest.mark.parametrize("half", [ResidualDown, ResidualUp])
def test_a_state_dict_holds_the_factor_and_gives_both_back(half):
    shape = (2, 5) if half is ResidualDown else (5, 2)
    one, other = half(randn(*shape), randn(*shape, seed=1)), half(torch.zeros(shape))
    assert list(one.state_dict()) == ["weight"]
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other.initial, one.initial)
    assert torch.equal(other.delta, one.delta)
    with pytest.raises(RuntimeError, match="size mismatch"):
        half(torch.zeros(3, 3)).load_state_dict(one.state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({})


def test_a_layer_is_its_base_until_it_is_trained_and_its_update_is_the_difference():
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(5, 6))
    x = randn(3, 5)
    expected = base(x)
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["0"]))
    layer = model.base_model.model[0]
    A0, B0 = randn(2, 5, seed=2), randn(6, 2, seed=3)
    make_residual(layer, "default", (A0, None), (B0, None))
    assert list(residual_layers(model, "default")) == ["base_model.model.0"]
    assert torch.equal(model(x), expected)
    dA, dB = randn(2, 5, seed=4), randn(6, 2, seed=5)
    layer.lora_A["default"].delta.data.copy_(dA)
    layer.lora_B["default"].delta.data.copy_(dB)
    update = 2 * ((B0 + dB) @ (A0 + dA) - B0 @ A0)
    torch.testing.assert_close(model(x), expected + x @ update.T, rtol=1e-4, atol=1e-4)
    before = layer.base_layer.weight.detach().clone()
    layer.merge()
    torch.testing.assert_close(layer.base_layer.weight, before + update, rtol=1e-4, atol=1e-4)
    layer.unmerge()
    assert torch.equal(layer.base_layer.weight, before)


READS = {
    "numpy": lambda weight: weight.detach().numpy(),
    "a slice": lambda weight: weight.data[0].numpy(),
    "asarray": lambda weight: np.asarray(weight.detach()),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("half", [ResidualDown, ResidualUp])
def test_an_array_of_a_factor_is_read_and_cannot_be_written_where_the_write_would_be_lost(half, read):
    part = half(randn(2, 2), randn(2, 2, seed=1))
    array = read(part.weight)
    assert array.any()
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0
    array.copy()[...] = 0
    part.weight.detach().zero_()  # torch's own writes arrive
    assert not part.weight.any()
