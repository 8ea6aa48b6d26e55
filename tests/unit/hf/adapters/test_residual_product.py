"""The thin products give what plain autograd gives, and compute no gradient of what is frozen."""

import pytest
import torch
from torch.nn.functional import linear

from retain.hf.adapters.residual_product import down, up

ROWS, INSIDE, OUTSIDE, RANK = (2, 3), 7, 5, 2


def draw(*shape, seed=0, requires_grad=True):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed + len(shape)), dtype=torch.float64)
    return values.requires_grad_(requires_grad)


@pytest.fixture
def parts():
    return (
        draw(*ROWS, INSIDE, seed=1),
        draw(RANK, INSIDE, seed=2),
        draw(RANK, INSIDE, seed=3, requires_grad=False),
        draw(OUTSIDE, RANK, seed=4, requires_grad=False),
        draw(OUTSIDE, RANK, seed=5),
    )


def literal(x, dA, A0, B0, dB):
    """(B A - B0 A0) x with A = A0 + dA, B = B0 + dB."""
    return linear(linear(x, A0 + dA), B0 + dB) - linear(linear(x, A0), B0)


def product(x, dA, A0, B0, dB):
    return up(down(x, dA, A0), B0, dB)


def test_the_update_and_its_gradients_are_the_literal_ones(parts):
    found = []
    for function in (literal, product):
        y = function(*parts)
        y.square().sum().backward()
        found.append((y.detach(), *(parts[i].grad.clone() for i in (0, 1, 4))))
        for i in (0, 1, 4):
            parts[i].grad = None
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_gradients_by_finite_differences(parts):
    assert torch.autograd.gradcheck(product, parts)


def test_nothing_is_computed_for_what_needs_no_gradient(parts):
    x, dA, A0, B0, dB = (part.detach() for part in parts)
    assert not product(x, dA, A0, B0, dB).requires_grad
    dB.requires_grad_()
    product(x, dA, A0, B0, dB).sum().backward()
    assert dB.grad is not None
    assert dA.grad is None


def test_it_saves_the_input_once_and_codes_of_twice_the_rank(parts):
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        product(*parts)
    large = [t.shape for t in saved if t.dim() == 3]
    assert sorted(large) == [(*ROWS, 2 * RANK), (*ROWS, INSIDE)]


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_under_autocast_it_is_as_good_as_lora(parts, dtype):
    x, *rest = (part.detach().float() for part in parts)
    rest[0].requires_grad_()
    with torch.autocast("cpu", dtype):
        y = product(x, *rest)
    y.float().sum().backward()
    torch.testing.assert_close(y.float(), literal(x, *rest), rtol=0.05, atol=0.1)
    assert rest[0].grad is not None
