"""The fused scaling of input features against its plain form and against torch's own derivatives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import linear

from retain.kernels.feature_scale import column_dot, reference, scale_features, scaled_linear

sizes = st.integers(1, 6)


def problem(shape, n, m, *, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(*shape, n, dtype=dtype, requires_grad=True)
    lam = torch.randn(n, dtype=dtype, requires_grad=True)
    return x, torch.randn(m, n, dtype=dtype), torch.randn(m, dtype=dtype), lam


@given(shape=st.lists(sizes, min_size=0, max_size=3), n=sizes, m=sizes, bias=st.booleans())
@settings(deadline=None, max_examples=30)
def test_derivatives_are_right_in_any_shape(shape, n, m, bias):
    x, weight, b, lam = problem(shape, n, m)
    b = b if bias else None
    assert gradcheck(lambda x, lam: scaled_linear(x, weight, b, lam), (x, lam))
    torch.testing.assert_close(scaled_linear(x, weight, b, lam), reference(x, weight, b, lam))


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1,), (7,), (130,), (3, 367)])
def test_no_token_one_token_and_a_number_that_no_block_divides(shape):
    x, weight, b, lam = problem(shape, 4, 3)
    found = torch.autograd.grad(scaled_linear(x, weight, b, lam).square().sum(), (x, lam))
    expected = torch.autograd.grad(reference(x, weight, b, lam).square().sum(), (x, lam))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_not_contiguous():
    x, weight, b, lam = problem((5, 6), 4, 3)
    turned = x.transpose(0, 1)
    found = torch.autograd.grad(scaled_linear(turned, weight, b, lam).square().sum(), (x, lam))
    expected = torch.autograd.grad(reference(turned, weight, b, lam).square().sum(), (x, lam))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_nothing_learned_is_the_frozen_layer_bit_for_bit(dtype):
    x, weight, b, _ = problem((3, 70), 16, 8, dtype=dtype)
    lam = torch.zeros(16, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(scaled_linear(x, weight, b, lam), linear(x, weight, b))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4])
def test_a_small_lambda_acts_in_16_bits_as_in_float32(dtype, size):
    """In the mean over features and tokens, within 5 %."""
    torch.manual_seed(0)
    x, lam = torch.randn(2, 512, 1024).to(dtype), size * torch.randn(1024)
    exact = x.double() * lam.double()
    found = scale_features(x, lam).double() - x.double()
    slope = float((found * exact).sum() / exact.square().sum())
    assert abs(slope - 1) < 0.05
    nearest = (x.float() * (1 + lam)).to(dtype).double() - x.double()
    if size < 1e-3 and dtype == torch.bfloat16:
        assert float((nearest * exact).sum() / exact.square().sum()) < 0.01


def test_the_gradient_of_lambda_in_16_bits():
    x, weight, b, lam = problem((200,), 64, 48, dtype=torch.float32)
    low, g = x.detach().bfloat16().requires_grad_(), torch.randn(200, 48).bfloat16()
    found = torch.autograd.grad(scaled_linear(low, weight.bfloat16(), b.bfloat16(), lam), (low, lam), g)
    assert [t.dtype for t in found] == [torch.bfloat16, torch.float32]
    x64, lam64 = low.detach().double().requires_grad_(), lam.detach().double().requires_grad_()
    exact = torch.autograd.grad(reference(x64, weight.bfloat16().double(), None, lam64), (x64, lam64), g.double())
    for one, other in zip(found, exact, strict=True):
        assert ((one.double() - other).norm() / other.norm()) < 0.01


@given(rows=st.integers(0, 200), n=sizes)
@settings(deadline=None, max_examples=20)
def test_column_dot(rows, n):
    torch.manual_seed(rows)
    a, b = torch.randn(2, rows, n, dtype=torch.float64)
    torch.testing.assert_close(column_dot(a, b), (a * b).sum(0))


def test_float16_does_not_overflow_in_its_gradient():
    x = torch.full((4, 8), 200.0).half().requires_grad_()
    lam = torch.zeros(8, requires_grad=True)
    (found,) = torch.autograd.grad(
        scaled_linear(x, torch.eye(8).half(), None, lam), lam, torch.full((4, 8), 200.0).half()
    )
    assert torch.equal(found, torch.full((8,), 4 * 200.0 * 200.0))


def test_a_backward_pass_under_autocast():
    x, weight, b, lam = problem((3,), 4, 3, dtype=torch.float32)
    y = scaled_linear(x, weight, b, lam)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(y.square().sum(), (x, lam))
    expected = torch.autograd.grad(reference(x, weight, b, lam).square().sum(), (x, lam))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tokens", [2, 40])
def test_fewer_and_more_tokens_than_outputs_give_the_same(tokens):
    """x is scaled or W0, whichever is smaller."""
    x, weight, b, lam = problem((tokens,), 4, 20)
    found = torch.autograd.grad(scaled_linear(x, weight.T.contiguous().T, b, lam).square().sum(), (x, lam))
    expected = torch.autograd.grad(reference(x, weight, b, lam).square().sum(), (x, lam))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("tokens", [2, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_input_is_kept_and_nothing_else(tokens, dtype):
    x, weight, b, lam = problem((tokens,), 16, 8, dtype=dtype)
    lam, kept = lam.detach().float().requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        scaled_linear(x, weight, b, lam)
    assert {one.data_ptr() for one in kept} == {one.data_ptr() for one in (x, weight, lam)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("frozen", ["x", "lambda"])
def test_only_what_asks_gets_a_gradient(frozen, dtype):
    x, weight, b, _ = problem((40,), 16, 8, dtype=dtype)
    lam = torch.randn(16, requires_grad=frozen != "lambda")
    x.requires_grad_(frozen != "x")
    scaled_linear(x, weight, b, lam).float().square().sum().backward()
    found, wide = (x.grad, lam.grad), x.detach().double().requires_grad_()
    lam64 = lam.detach().double().requires_grad_()
    reference(wide, weight.double(), b.double(), lam64).square().sum().backward()
    for one, other, name in zip(found, (wide.grad, lam64.grad), ("x", "lambda"), strict=True):
        assert (one is None) == (name == frozen)
        if one is not None:
            assert ((one.double() - other).norm() / other.norm()) < (0.02 if dtype == torch.bfloat16 else 1e-5)
