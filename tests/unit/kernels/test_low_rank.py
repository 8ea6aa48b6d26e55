"""The fused low-rank layer against its plain form and against torch's own derivatives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from retain.kernels.low_rank import low_rank, low_rank_inside, reference, reference_inside

sizes = st.integers(1, 6)


def problem(shape, n, m, r, *, dtype=torch.float64, bias=True, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(*shape, n, dtype=dtype, requires_grad=True)
    weight, b = torch.randn(m, n, dtype=dtype), torch.randn(m, dtype=dtype) if bias else None
    A, B = (torch.randn(*size, dtype=dtype, requires_grad=True) for size in ((r, n), (m, r)))
    return x, weight, b, A, B


@given(shape=st.lists(sizes, min_size=0, max_size=3), n=sizes, m=sizes, r=sizes, bias=st.booleans())
@settings(deadline=None, max_examples=30)
def test_derivatives_are_right_in_any_shape(shape, n, m, r, bias):
    x, weight, b, A, B = problem(shape, n, m, r, bias=bias)
    assert gradcheck(lambda x, A, B: low_rank(x, weight, b, A, B, 0.7), (x, A, B))
    torch.testing.assert_close(low_rank(x, weight, b, A, B, 0.7), reference(x, weight, b, A, B, 0.7))


@given(shape=st.lists(sizes, min_size=0, max_size=3), n=sizes, m=sizes, r=sizes, bias=st.booleans())
@settings(deadline=None, max_examples=20)
def test_a_shift_of_the_input_likewise(shape, n, m, r, bias):
    x, weight, b, A, _ = problem(shape, n, m, r, bias=bias)
    B = torch.randn(n, r, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, A, B: low_rank_inside(x, weight, b, A, B, 0.7), (x, A, B))
    found = low_rank_inside(x, weight, b, A, B, 0.7)
    torch.testing.assert_close(found, reference_inside(x, weight, b, A, B, 0.7))
    torch.testing.assert_close(found, reference(x, weight, b, A, weight @ B, 0.7))


@pytest.mark.parametrize("frozen", ["", "x", "A", "B", "x A", "A B", "x B"])
@pytest.mark.parametrize("tokens", [0, 1, 2, 9])
def test_a_shift_of_the_input_by_fewer_and_more_tokens_than_outputs(frozen, tokens):
    x, weight, b, A, _ = problem((tokens,), 4, 3, 2)
    named = {"x": x, "A": A, "B": torch.randn(4, 2, dtype=torch.float64, requires_grad=True)}
    for name in frozen.split():
        named[name].requires_grad_(requires_grad=False)
    trained = [one for one in named.values() if one.requires_grad]
    y = low_rank_inside(x, weight, b, A, named["B"], 0.7)
    expected = reference_inside(x, weight, b, A, named["B"], 0.7)
    torch.testing.assert_close(y, expected)
    g = torch.randn_like(y)
    found = torch.autograd.grad(y, trained, g)
    for one, other in zip(found, torch.autograd.grad(expected, trained, g), strict=True):
        torch.testing.assert_close(one, other)


def test_a_small_shift_acts_in_16_bits():
    """x + s·B A x rounded to the nearest would be x."""
    torch.manual_seed(0)
    x, weight, _, A, _ = problem((40,), 64, 48, 4, dtype=torch.float32)
    x, weight, A = x.detach().bfloat16(), (weight / 8).bfloat16(), A.detach()
    B = torch.randn(64, 4) * 1e-4
    found = (low_rank_inside(x, weight, None, A, B) - x @ weight.T).double()
    exact = (x.double() @ A.double().T @ B.double().T) @ weight.double().T
    assert float((found * exact).sum() / exact.square().sum()) > 0.2


@pytest.mark.parametrize("tokens", [0, 1])
def test_no_token_and_one_token(tokens):
    x, weight, b, A, B = problem((2, tokens), 4, 3, 2)
    low_rank(x, weight, b, A, B).sum().backward()
    found = [t.grad.clone() for t in (x, A, B)]
    x.grad = A.grad = B.grad = None
    reference(x, weight, b, A, B, 1.0).sum().backward()
    for one, other in zip(found, (x, A, B), strict=True):
        torch.testing.assert_close(one, other.grad)


def test_inputs_weights_and_gradients_that_are_not_contiguous():
    x, weight, b, A, B = problem((5, 6), 4, 3, 2)
    turned, tall = x.transpose(0, 1), weight.T.contiguous().T
    y = low_rank(turned, tall, b, A, B, 2.0)
    expected = reference(turned, weight, b, A, B, 2.0)
    torch.testing.assert_close(y, expected)
    g = torch.randn(5, 6, 3, dtype=torch.float64).transpose(0, 1)
    found = torch.autograd.grad(y, (x, A, B), g)
    for one, other in zip(found, torch.autograd.grad(expected, (x, A, B), g), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("frozen", ["x", "A", "B", "x A", "A B", "x B"])
def test_only_what_asks_gets_a_gradient(frozen):
    x, weight, b, A, B = problem((3,), 4, 3, 2)
    named = {"x": x, "A": A, "B": B}
    for name in frozen.split():
        named[name].requires_grad_(requires_grad=False)
    low_rank(x, weight, b, A, B).square().sum().backward()
    found = {name: t.grad for name, t in named.items()}
    for t in named.values():
        t.grad = None
    reference(x, weight, b, A, B, 1.0).square().sum().backward()
    for name, t in named.items():
        if name in frozen.split():
            assert found[name] is None
        else:
            torch.testing.assert_close(found[name], t.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_are_right_to_their_digits(dtype):
    x, weight, b, A, B = problem((40,), 64, 48, 4, dtype=torch.float32)
    weight, b = (weight / 8).to(dtype), b.to(dtype)
    low = x.detach().to(dtype).requires_grad_()
    A.data /= 8
    g = torch.randn(40, 48).to(dtype)
    y = low_rank(low, weight, b, A, B, 0.5)
    assert y.dtype == dtype
    found = torch.autograd.grad(y, (low, A, B), g)
    assert [t.dtype for t in found] == [dtype, torch.float32, torch.float32]
    exact = (low.detach().double().requires_grad_(), A.detach().double().requires_grad_(), B.detach().double())
    exact[2].requires_grad_()
    z = reference(exact[0], weight.double(), b.double(), exact[1], exact[2], 0.5)
    assert ((y.double() - z).norm() / z.norm()) < 0.01
    for one, other in zip(found, torch.autograd.grad(z, exact, g.double()), strict=True):
        assert ((one.double() - other).norm() / other.norm()) < 0.01


def test_a_second_derivative_is_refused_in_words():
    x, weight, b, A, B = problem((3,), 4, 3, 2)
    (first,) = torch.autograd.grad(low_rank(x, weight, b, A, B).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_the_input_is_not_written_to():
    x, weight, b, A, B = problem((3,), 4, 3, 2)
    before = [t.detach().clone() for t in (x, weight, b, A, B)]
    low_rank(x, weight, b, A, B).sum().backward()
    assert all(torch.equal(t.detach(), old) for t, old in zip((x, weight, b, A, B), before, strict=True))


def test_a_backward_pass_under_autocast():
    x, weight, b, A, B = problem((3,), 4, 3, 2, dtype=torch.float32)
    y = low_rank(x, weight, b, A, B)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(y.square().sum(), (x, A, B))
    expected = torch.autograd.grad(reference(x, weight, b, A, B, 1.0).square().sum(), (x, A, B))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
