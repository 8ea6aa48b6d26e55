import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.loss.loss_utils import ForCausalLMLoss

from retain.errors import InputError
from retain.kernels.cross_entropy import chunked_cross_entropy, cross_entropy


def made(shape, width, vocabulary, *, seed=0, dtype=torch.float64, bias=True, ignored=0.4):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(vocabulary, shape, generator=generator)
    labels[torch.rand(shape, generator=generator) < ignored] = -100
    parts = [
        torch.randn(size, generator=generator, dtype=torch.float64)
        for size in (*[(*shape, width)], (vocabulary, width), (vocabulary,))
    ]
    hidden, weight, shift = (part.to(dtype).requires_grad_() for part in parts)
    return hidden, weight, shift if bias else None, labels


def slopes(function, hidden, weight, bias, labels, **options):
    value = function(hidden, weight, bias, labels, **options)
    return value, torch.autograd.grad(3 * value, [part for part in (hidden, weight, bias) if part is not None])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 3),
    st.integers(1, 7),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(1, 8),
    st.booleans(),
    st.sampled_from([None, 5, 2.5]),
    st.integers(0, 100),
)
def test_values_and_gradients_are_the_equations(rows, tokens, width, vocabulary, chunk, bias, num_items, seed):
    parts = made((rows, tokens), width, vocabulary, seed=seed, bias=bias)
    expected, theirs = slopes(cross_entropy, *parts, num_items=num_items)
    found, mine = slopes(chunked_cross_entropy, *parts, num_items=num_items, chunk_tokens=chunk)
    torch.testing.assert_close(found, expected, equal_nan=True)
    if parts[3].ne(-100).any():
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    else:
        assert all(slope.count_nonzero() == 0 for slope in mine)


def test_gradients_are_those_of_finite_differences():
    hidden, weight, bias, labels = made((2, 4), 3, 6)
    assert torch.autograd.gradcheck(
        lambda *parts: chunked_cross_entropy(*parts, labels, chunk_tokens=3), (hidden, weight, bias)
    )


@pytest.mark.parametrize("num_items", [None, 3, torch.tensor(11), 0])
@pytest.mark.parametrize("ignored", [0.4, 1.1])
def test_it_is_the_loss_of_transformers(num_items, ignored):
    hidden, weight, bias, labels = made((3, 8), 6, 20, dtype=torch.float32, ignored=ignored)
    expected = ForCausalLMLoss(
        torch.nn.functional.linear(hidden, weight, bias), labels, 20, num_items_in_batch=num_items, shift_labels=labels
    )
    found = chunked_cross_entropy(hidden, weight, bias, labels, num_items=num_items, chunk_tokens=5)
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_lose_no_more_than_the_plain_loss(dtype):
    hidden, weight, _, labels = made((4, 30), 32, 50, dtype=dtype, bias=False)
    with torch.no_grad():
        hidden *= 0.3
    exact, right = slopes(cross_entropy, hidden.double(), weight.double(), None, labels)
    plain, theirs = slopes(cross_entropy, hidden, weight, None, labels)
    found, mine = slopes(chunked_cross_entropy, hidden, weight, None, labels, chunk_tokens=16)
    assert found.dtype == plain.dtype == torch.float32
    torch.testing.assert_close(found, plain, rtol=1e-3, atol=0)
    torch.testing.assert_close(found.double(), exact, rtol=1e-2, atol=0)
    for one, other, true in zip(mine, theirs, right, strict=True):
        assert one.dtype == dtype
        lost, usual = ((part.double() - true).norm() / true.norm() for part in (one, other))
        assert lost <= 1.1 * usual + 1e-4


def test_autocast_makes_the_product_in_its_precision():
    hidden, weight, bias, labels = made((2, 9), 16, 40, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        expected, theirs = slopes(cross_entropy, hidden, weight, bias, labels)
        found, mine = slopes(chunked_cross_entropy, hidden, weight, bias, labels, chunk_tokens=4)
    assert found != cross_entropy(hidden, weight, bias, labels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert [part.dtype for part in mine] == [torch.float32] * 3
    for one, other in zip(mine, theirs, strict=True):
        assert (one - other).norm() < 1e-2 * other.norm()


class Largest(TorchDispatchMode):
    """Remembers the most elements that any tensor has which an operation makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return out


@pytest.mark.parametrize("wants_weight", [False, True])
def test_no_tensor_has_tokens_times_vocabulary_elements(wants_weight):
    hidden, weight, _, labels = made((4, 100), 4, 500, dtype=torch.float32, bias=False)
    weight.requires_grad_(wants_weight)
    sizes = []
    for function, options in ((chunked_cross_entropy, {"chunk_tokens": 8}), (cross_entropy, {})):
        with Largest() as seen:
            function(hidden, weight, None, labels, **options).backward()
        sizes.append(seen.elements)
    assert sizes == [8 * 500, 400 * 500]


def test_a_frozen_head_gets_no_gradient_and_without_gradients_none_is_made():
    hidden, weight, bias, labels = made((2, 6), 3, 11)
    with torch.no_grad():
        value = chunked_cross_entropy(hidden, weight, bias, labels)
    assert not value.requires_grad
    frozen = weight.detach()
    found = chunked_cross_entropy(hidden, frozen, None, labels)
    found.backward()
    assert frozen.grad is None
    torch.testing.assert_close(hidden.grad, slopes(cross_entropy, hidden, weight, None, labels)[1][0] / 3)


def test_it_goes_backwards_twice_when_the_graph_is_kept():
    hidden, weight, bias, labels = made((2, 6), 3, 11)
    value = chunked_cross_entropy(hidden, weight, bias, labels)
    first = torch.autograd.grad(value, hidden, retain_graph=True)[0].clone()
    torch.testing.assert_close(torch.autograd.grad(value, hidden)[0], first)


def test_strides_do_not_matter():
    hidden, weight, _, labels = made((6, 5), 4, 9, bias=False)
    turned = hidden.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    thin = weight.detach().T.contiguous().T.requires_grad_()
    mirrored = labels.T.contiguous().T
    assert not turned.is_contiguous()
    assert not thin.is_contiguous()
    expected = slopes(chunked_cross_entropy, hidden, weight, None, labels, chunk_tokens=2)
    torch.testing.assert_close(slopes(chunked_cross_entropy, turned, thin, None, mirrored, chunk_tokens=2), expected)


def test_large_logits_do_not_overflow():
    hidden, weight = torch.tensor([[1e4, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert chunked_cross_entropy(hidden, weight, None, torch.tensor([1])).item() == 2e4
    assert chunked_cross_entropy(hidden, weight, None, torch.tensor([0])).item() == 0


def test_what_does_not_belong_together_is_said():
    hidden, weight, bias, labels = made((2, 6), 3, 11)
    with pytest.raises(InputError, match="weight"):
        chunked_cross_entropy(hidden, weight[:, :2], bias, labels)
    with pytest.raises(InputError, match="bias"):
        chunked_cross_entropy(hidden, weight, bias[:2], labels)
    with pytest.raises(InputError, match="one label a position"):
        chunked_cross_entropy(hidden, weight, bias, labels[:, :2])
    with pytest.raises(InputError, match="chunk_tokens"):
        chunked_cross_entropy(hidden, weight, bias, labels, chunk_tokens=0)
    with pytest.raises(InputError, match="11 outputs"):
        chunked_cross_entropy(hidden, weight, bias, labels.clamp_min(0) + 11)
    with pytest.raises(InputError, match="between -1"):
        chunked_cross_entropy(hidden, weight, bias, torch.full((2, 6), -1))
