"""In 16 bits a small shift must not be rounded away with the input that it is added to."""

import contextlib

import pytest
import torch
from peft import get_peft_model
from torch import nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from retain import LoRFAConfig, VeFAConfig
from retain.hf.tuners.forward import adapter_dtype, residual_weight
from retain.kernels import reference_only

N, M, TOKENS, SIZE = 512, 384, 256, 1e-3


def make(method, dtype=torch.bfloat16, kind=nn.Linear, **fields):
    """One adapted layer whose shift is SIZE times its input, roughly; x; and the exact effect in float64."""
    torch.manual_seed(0)
    base = (Conv1D(M, N) if kind is Conv1D else nn.Linear(N, M)).to(dtype)
    nn.init.normal_(base.weight, std=N**-0.5)
    config = VeFAConfig if method == "vefa" else LoRFAConfig
    layer = get_peft_model(nn.Sequential(base), config(target_modules=["0"], **fields)).base_model.model[0]
    if method == "vefa":
        layer.vefa_lambda["default"].weight.data.normal_(std=SIZE)
    else:
        layer.lorfa_B["default"].weight.data.normal_(std=SIZE * 0.6)
    x = torch.randn(TOKENS, N).to(dtype)
    weight = (base.weight.T if kind is Conv1D else base.weight).detach()
    exact = layer.double().shift("default", x.double()) @ weight.double().T
    layer.float()
    base.to(dtype)
    return layer, x, weight.to(dtype), exact.detach()


def error(found, exact):
    return float((found.double() - exact).norm() / exact.norm())


def slope(found, exact):
    """How much of the exact effect is there, on average: 1 is all of it, 0 nothing."""
    return float((found.double() * exact).sum() / exact.square().sum())


@pytest.mark.parametrize("method", ["vefa", "lorfa"])
@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
def test_what_the_adapter_adds_is_right_in_16_bits(method, kind):
    layer, x, weight, exact = make(method, kind=kind)
    assert residual_weight(layer.base_layer, x) is not None
    assert error(layer.projected("default", x, weight), exact) < 0.01


def effects(method, **switched):
    """What the adapter does to a 16-bit layer's output, in the preserved form and by rounding to the nearest."""
    found = {}
    for preserved in (True, False):
        layer, x, _, exact = make(method, preserve_small_shifts=preserved)
        with reference_only() if switched else contextlib.nullcontext():
            found[preserved] = layer(x).double() - layer.base_layer(x).double()
    return found, exact


@pytest.mark.parametrize(("method", "switched"), [("vefa", {"plain": True}), ("lorfa", {"plain": True})])
def test_less_is_lost_and_less_noise_added_than_by_shifting_the_input(method, switched):
    """What the residual form still lacks is lost when the sum is rounded to 16 bits; LoRA's sum is rounded likewise."""
    found, exact = effects(method, **switched)
    assert slope(found[True], exact) > 0.5
    assert slope(found[False], exact) < {"vefa": 0.25, "lorfa": 0.6}[method]
    assert error(found[True], exact) < 0.6 * error(found[False], exact)


def test_all_of_a_small_lambda_acts_where_the_input_is_rounded_by_odds():
    """In the mean it is that of float32 to 5 %; the price is noise, some two more roundings of the output."""
    found, exact = effects("vefa")
    assert abs(slope(found[True], exact) - 1) < 0.05
    assert error(found[True], exact) < 2 * error(found[False], exact)


@pytest.mark.parametrize("method", ["vefa", "lorfa"])
def test_gradients_are_those_of_float32(method):
    gradients = []
    for dtype in (torch.bfloat16, torch.float32):
        layer, x, _, _ = make(method)
        layer.base_layer.to(dtype)
        torch.manual_seed(1)
        (layer(x.to(dtype)) * torch.randn(TOKENS, M).to(dtype)).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in layer.parameters() if p.requires_grad]))
    assert error(gradients[0], gradients[1].double()) < 0.02


@pytest.mark.parametrize("method", ["vefa", "lorfa"])
def test_merging_into_16_bits_is_computed_in_float32(method):
    layer, _, weight, _ = make(method)
    expected = weight.float() + layer.get_delta_weight("default")
    layer.merge()
    assert torch.equal(layer.base_layer.weight, expected.to(torch.bfloat16))


@pytest.mark.parametrize("method", ["vefa", "lorfa"])
def test_autocast_counts_as_16_bits(method):
    layer, x, _, exact = make(method, torch.float32)
    assert residual_weight(layer.base_layer, x) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert residual_weight(layer.base_layer, x) is layer.base_layer.weight
        y = layer(x)
        assert y.dtype == torch.bfloat16
        assert slope(y - layer.base_layer(x), exact) > 0.45


def test_half_precision_works_too():
    layer, x, weight, exact = make("vefa", torch.float16)
    assert error(layer.projected("default", x, weight), exact) < 0.005
    assert layer(x).dtype == torch.float16


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_a_subclass_keeps_its_own_forward():
    torch.manual_seed(0)
    model = get_peft_model(nn.Sequential(Doubling(4, 3).bfloat16()), VeFAConfig(target_modules=["0"]))
    layer = model.base_model.model[0]
    layer.vefa_lambda["default"].weight.data.fill_(1.0)
    x = torch.randn(5, 4).bfloat16()
    assert torch.equal(layer(x), layer.base_layer(2 * x))


def test_unusable_weights_are_not_used():
    x = torch.randn(2, 4).bfloat16()
    assert residual_weight(nn.Linear(4, 3, device="meta", dtype=torch.bfloat16), x) is None
    assert residual_weight(Doubling(4, 3).bfloat16(), x) is None
    assert residual_weight(nn.Linear(4, 3).bfloat16(), x).shape == (3, 4)
    assert residual_weight(Conv1D(3, 4).bfloat16(), x).shape == (3, 4)


def test_adapters_are_never_less_than_float32():
    kinds = {torch.bfloat16: torch.float32, torch.float16: torch.float32, torch.float32: torch.float32}
    for base, expected in {**kinds, torch.float64: torch.float64}.items():
        assert adapter_dtype(nn.Linear(2, 2, dtype=base)) == expected


def test_both_forms_are_the_same_function_in_exact_arithmetic():
    layer, x, _, _ = make("lorfa", torch.float64)
    layer.double()
    weight = layer.base_layer.weight
    left = layer.base_layer(x + layer.shift("default", x))
    right = layer.base_layer(x) + layer.projected("default", x, weight)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(right - linear(x, weight, layer.base_layer.bias), layer.projected("default", x, weight))
