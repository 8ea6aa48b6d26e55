"""The gradient before a frozen matrix, with and without a processor's units for 16 bits."""

import pytest
import torch

from retain.kernels import input_gradient as kernel
from retain.kernels.input_gradient import input_gradient


@pytest.mark.parametrize("units", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(0,), (1,), (2, 300), (513,), ()])
def test_it_is_the_product(monkeypatch, units, dtype, shape):
    monkeypatch.setattr(kernel, "_has_units", lambda _: units)
    torch.manual_seed(0)
    g, weight = torch.randn(*shape, 6).to(dtype), torch.randn(4, 6).to(dtype).T
    found = input_gradient(g, weight)
    assert found.dtype == dtype
    near = {torch.bfloat16: 1e-2, torch.float16: 1e-3}.get(dtype, 1e-6)
    torch.testing.assert_close(found.double(), g.double() @ weight.double(), rtol=near, atol=10 * near)


def test_strided_gradients():
    g, weight = torch.randn(6, 5, 3).bfloat16().transpose(0, 1), torch.randn(3, 4).bfloat16()
    torch.testing.assert_close(input_gradient(g, weight).float(), g.float() @ weight.float(), rtol=1e-2, atol=5e-2)


def test_the_processor_is_asked_once_a_type():
    assert kernel._has_units(torch.bfloat16) in (True, False)
    assert kernel._has_units(torch.float16) in (True, False)
