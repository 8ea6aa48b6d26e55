"""Stochastic rounding: right in the mean, exact where nothing is cut off, the same whatever else is in the batch."""

import pytest
import torch

from retain.kernels.stochastic_rounding import (
    CUT_BITS,
    ROWS,
    random_bits,
    round_stochastically,
    row_of,
    scaled_stochastically,
    scaled_to_nearest,
    sum_stochastically,
)

LOW = sorted(CUT_BITS, key=str)


@pytest.mark.parametrize("dtype", LOW)
def test_it_is_one_of_the_two_neighbours_and_right_in_the_mean(dtype):
    torch.manual_seed(0)
    value = torch.rand(1) + 1
    n = 4096
    values = value.expand(ROWS, n).clone()
    rounded = torch.empty(ROWS, n, dtype=dtype)
    round_stochastically(values, random_bits(n, CUT_BITS[dtype], value.device), rounded)
    step = torch.finfo(dtype).eps
    assert set(((rounded.float() - value).abs() <= step).flatten().tolist()) == {True}
    assert len(rounded.unique()) == 2
    standard_error = step * 0.5 / (ROWS * n) ** 0.5
    assert abs(float(rounded.double().mean()) - float(value)) < 4 * standard_error


@pytest.mark.parametrize("dtype", LOW)
def test_what_lies_on_the_grid_stays(dtype):
    torch.manual_seed(0)
    x = (torch.randn(3, 100, 32) * torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)).to(dtype)
    x[0, 0, :4] = torch.tensor([0.0, -0.0, float("inf"), -float("inf")]).to(dtype)
    same = scaled_stochastically(x, torch.ones(32))
    assert torch.equal(same, x)
    assert torch.equal(torch.signbit(same), torch.signbit(x))
    assert torch.equal(sum_stochastically(x, torch.zeros_like(x, dtype=torch.float32)), x)


def test_what_is_no_number_stays_none():
    x = torch.tensor([[float("nan"), 1.0]]).bfloat16()
    assert scaled_stochastically(x, torch.tensor([1.3, 1.3])).isnan().tolist() == [[True, False]]


def test_the_same_token_gives_the_same_bits_wherever_it_stands():
    """In any batch, at any position (padding on the left), one at a time (decoding), and as a row of its own."""
    torch.manual_seed(0)
    x, factor = torch.randn(5, 150, 16).bfloat16(), 1 + 1e-3 * torch.randn(16)
    together = scaled_stochastically(x, factor)
    for row in range(5):
        assert torch.equal(scaled_stochastically(x[row], factor), together[row])
        assert torch.equal(scaled_stochastically(x[row, 70:], factor), together[row, 70:])
    assert torch.equal(scaled_stochastically(x[:, 33:34], factor), together[:, 33:34])
    assert torch.equal(scaled_stochastically(x[2, 9], factor), together[2, 9])
    assert torch.equal(scaled_stochastically(x.transpose(0, 1), factor), together.transpose(0, 1))


def test_tokens_have_rows_of_their_own():
    """4,000 tokens one at a time: over rows the effect on a feature is right to some 1/√128 of one rounding's noise."""
    torch.manual_seed(0)
    x = torch.randn(4000, 1, 32).bfloat16()
    rows = row_of(x).flatten().bincount(minlength=ROWS)
    assert len(rows) == ROWS
    assert rows.min() > 4
    assert rows.max() < 80
    factor = torch.full((32,), 1 + 1e-3)
    effect = (scaled_stochastically(x, factor).double() - x.double()).mul(x.double()).sum(
        (0, 1)
    ) / x.double().square().sum((0, 1))
    assert (effect - 1e-3).abs().max() < 1e-3
    assert (effect - 1e-3).square().mean().sqrt() < 0.4e-3


def test_several_positions_at_once_are_those_of_each_block():
    torch.manual_seed(0)
    x, added = torch.randn(2, 150, 16).bfloat16(), 1e-3 * torch.randn(2, 150, 16)
    whole = sum_stochastically(x, added)
    pieces = [sum_stochastically(x[:, i : i + 50], added[:, i : i + 50]) for i in range(0, 150, 50)]
    assert torch.equal(whole, torch.cat(pieces, dim=1))


@pytest.mark.parametrize("bits", [0x7FFFFFFF, -1, 0x7FC00000])
def test_no_number_of_any_bits_becomes_a_number(bits):
    """0x7FFFFFFF is what GPUs of NVIDIA give."""
    values = torch.full((1, 4), bits, dtype=torch.int32).view(torch.float32)
    out = torch.empty(1, 4, dtype=torch.bfloat16)
    round_stochastically(values, torch.full((1, 4), 65535, dtype=torch.int32), out, guard=True)
    assert out.isnan().all()


def test_to_the_nearest():
    torch.manual_seed(0)
    x, factor = torch.randn(3, 70, 16).bfloat16(), 1 + 1e-2 * torch.randn(16)
    assert torch.equal(scaled_to_nearest(x, factor), (x.float() * factor).bfloat16())


@pytest.mark.parametrize("shape", [(16,), (0, 16), (3, 0, 16), (2, 3, 4, 16)])
def test_any_number_of_dimensions(shape):
    assert scaled_stochastically(torch.ones(shape).bfloat16(), torch.full((16,), 1.5)).shape == shape
