"""Inputs that are not kept: made again to the last digits, and gone from memory."""

import copy

import pytest
import torch
from torch import nn

from retain.kernels import low_rank as module
from retain.kernels import recompute as source
from retain.kernels.recompute import keep


class RMSNorm(nn.Module):
    """As transformers writes it: normalised in float32, cast back, times the weight."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(n) + 0.5)

    def forward(self, h):
        wide = h.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(h.dtype)


class Gate(nn.Module):
    def forward(self, h):
        return nn.functional.silu(h) * (h + 1)


MAKERS = {
    "rms": lambda: RMSNorm(16),
    "layer": lambda: nn.LayerNorm(16),
    "gate": Gate,
    "gelu": nn.GELU,
    "gelu-tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
}
MAKES = pytest.mark.parametrize("kind", MAKERS)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Activations are made again, too."""
    monkeypatch.setattr(source, "DEAR_ON_A_CPU", frozenset())


def test_activations_are_kept_on_a_cpu(monkeypatch):
    monkeypatch.undo()
    for kind in ("gelu", "gelu-tanh", "silu"):
        x = made(kind)
        assert keep(x).tensors[0] is x


def made(kind, dtype=torch.float32):
    torch.manual_seed(0)
    maker = MAKERS[kind]().to(dtype).requires_grad_(requires_grad=False)
    h = torch.randn(3, 5, 16).to(dtype).requires_grad_()
    return maker(h)


@MAKES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_made_again(kind, dtype):
    if kind == "layer" and dtype == torch.bfloat16:
        pytest.skip("kept; see below")
    x = made(kind, dtype)
    kept = keep(x)
    assert all(tensor is not x and tensor.data_ptr() != x.data_ptr() for tensor in kept.tensors)
    again = kept.recompute(*kept.tensors)
    assert again.dtype == dtype
    assert again.shape == x.shape
    if kind == "layer":
        torch.testing.assert_close(again, x.detach(), rtol=torch.finfo(dtype).eps, atol=2 * torch.finfo(dtype).eps)
    else:
        assert torch.equal(again, x.detach())


@pytest.mark.parametrize("x", [torch.randn(4), torch.randn(4, requires_grad=True)])
def test_what_nothing_is_known_of_is_kept(x):
    assert keep(x).tensors[0] is x
    more = x + 1
    assert keep(more).tensors[0] is more


def test_a_trained_norm_is_followed_too():
    """Both of its factors are kept."""
    norm = RMSNorm(16)
    x = norm(torch.randn(2, 16, requires_grad=True))
    kept = keep(x)
    assert all(tensor.data_ptr() != x.data_ptr() for tensor in kept.tensors)
    assert torch.equal(kept.recompute(*kept.tensors), x)


@pytest.mark.parametrize("wide", [torch.float32, torch.float64])
def test_a_cast_on_the_way_is_made_again_as_it_was(wide):
    """A product cast down and up again, and a wide weight times a narrow norm."""
    a, b = torch.randn(2, 4, 16, requires_grad=True).unbind()
    for x in ((a * b).bfloat16().to(wide), torch.rand(16, dtype=wide) * (a * b).bfloat16()):
        kept = keep(x)
        assert all(tensor.data_ptr() != x.data_ptr() for tensor in kept.tensors)
        again = kept.recompute(*kept.tensors)
        assert again.dtype == wide
        assert torch.equal(again, x)


def test_a_layer_norm_with_its_mean_in_16_bits_is_not_followed():
    x = made("layer", torch.bfloat16)
    assert x.grad_fn._saved_result1.dtype == torch.bfloat16  # on a CPU
    assert keep(x).tensors[0] is x


def test_saved_tensors_that_somebody_handles_are_left_to_them():
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        x = made("gate")
        assert keep(x).tensors[0] is x


def held(node):
    """Tensors that the graph of a fused layer holds."""
    return {tensor.untyped_storage().data_ptr() for tensor in node.saved_tensors}


@MAKES
def test_the_layer_does_not_hold_its_input(kind):
    x = made(kind)
    weight, A, B = torch.randn(8, 16), torch.randn(2, 16, requires_grad=True), torch.randn(8, 2, requires_grad=True)
    y = module.low_rank(x, weight, None, A, B)
    node = y.grad_fn if y.grad_fn.name().startswith("_LowRank") else y.grad_fn.next_functions[0][0]
    assert x.untyped_storage().data_ptr() not in held(node)
    y.sum().backward()
    expected = torch.autograd.grad(module.reference(x.detach(), weight, None, A, B, 1.0).sum(), (A, B))
    for one, other in zip((A.grad, B.grad), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_three_readers_share_what_is_made_again(monkeypatch):
    x = made("rms")
    kept = [keep(x) for _ in range(3)]
    assert all(one is kept[0] for one in kept)
    first = kept[0].recompute(*kept[0].tensors)
    assert kept[1].recompute(*kept[1].tensors) is first
    assert kept[2].recompute(*kept[2].tensors) is first
    assert kept[0].recompute.made is None  # and is let go after the last
    assert kept[0].recompute(*kept[0].tensors) is not first  # a second backward pass starts anew


def test_an_input_written_over_between_two_readers_is_not_taken_for_the_old_one():
    a, b = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True).unbind()
    weight, B = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    factors = [torch.randn(2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def two(layer, copied):
        x = a * b
        first = layer(x, weight, None, factors[0], B, 1.0)
        x = x.clone() if copied else x
        x += 5
        return (first + layer(x, weight, None, factors[1], B, 1.0)).square().sum()

    found = torch.autograd.grad(two(module.low_rank, copied=False), factors)
    for one, other in zip(found, torch.autograd.grad(two(module.reference, copied=True), factors), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", ["rms", "layer", "gate"])
def test_an_input_written_over_without_a_graph_is_kept(kind):
    """As a hook does that steers a model; the graph still tells of the norm alone."""
    x = made(kind)
    with torch.no_grad():
        x[:, 1] += 3
    weight, A, B = torch.randn(8, 16), torch.randn(2, 16, requires_grad=True), torch.randn(8, 2, requires_grad=True)
    found = torch.autograd.grad(module.low_rank(x, weight, None, A, B).sum(), (A, B), retain_graph=True)
    expected = torch.autograd.grad(module.reference(x.detach(), weight, None, A, B, 1.0).sum(), (A, B))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_what_checkpointing_makes_again_is_not_asked_for():
    calls = []

    def gate(g, u):
        calls.append(1)
        return nn.functional.silu(g) * u

    g, u = torch.randn(2, 5, 16, requires_grad=True).unbind()
    x = torch.utils.checkpoint.checkpoint(gate, g, u, use_reentrant=False)
    assert keep(x).tensors[0] is x
    A, B = torch.randn(2, 16, requires_grad=True), torch.randn(8, 2, requires_grad=True)
    module.low_rank(x, torch.randn(8, 16), None, A, B).sum().backward()
    assert len(calls) == 2


def test_nothing_is_held_where_a_reader_has_no_backward_pass():
    x = made("rms")
    weight, A, B = torch.randn(8, 16), torch.randn(2, 16, requires_grad=True), torch.randn(8, 2, requires_grad=True)
    first, second = (module.low_rank(x, weight, None, A, B) for _ in range(2))
    kept = keep(x)
    first.sum().backward(retain_graph=True)
    assert kept.recompute.made is None
    expected = torch.autograd.grad(module.reference(x.detach(), weight, None, A, B, 1.0).sum(), A)[0]
    torch.testing.assert_close(A.grad, expected)
    second.sum().backward()
    torch.testing.assert_close(A.grad, 2 * expected)
    with torch.no_grad():
        readers = kept.recompute.readers
        module.low_rank(x, weight, None, A, B)
        assert kept.recompute.readers == readers


def test_an_input_written_over_is_noticed():
    h = torch.randn(3, 16, requires_grad=True)
    inner = h * 1
    x = nn.functional.gelu(inner)
    A, B = torch.randn(2, 16, requires_grad=True), torch.randn(8, 2, requires_grad=True)
    y = module.low_rank(x, torch.randn(8, 16), None, A, B)
    inner.data.add_(0)  # unseen by autograd
    with torch.no_grad():
        inner.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_same_gradients_through_a_whole_block_with_and_without():
    torch.manual_seed(0)
    norm, weight = RMSNorm(16).requires_grad_(requires_grad=False), torch.randn(3, 16, 16)
    factors = [(torch.randn(2, 16, requires_grad=True), torch.randn(16, 2, requires_grad=True)) for _ in range(3)]
    h = torch.randn(4, 16, requires_grad=True)

    def block(layer):
        x = norm(h)
        q, k, v = (layer(x, w, None, A, B, 1.0) for w, (A, B) in zip(weight, factors, strict=True))
        return (q * k + v).square().sum()

    wanted = [h, *(t for pair in factors for t in pair)]
    found, expected = (torch.autograd.grad(block(f), copy.copy(wanted)) for f in (module.low_rank, module.reference))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
