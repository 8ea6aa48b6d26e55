"""Rounding by odds: right in the mean, exact where nothing is cut off, the same whatever else is in the batch."""

import pytest
import torch

from retain.fast.rounding import CUT_BITS, ROWS, odds, round_by_odds, scaled_by_odds, sum_by_odds

LOW = sorted(CUT_BITS, key=str)


@pytest.mark.parametrize("dtype", LOW)
def test_it_is_one_of_the_two_neighbours_and_right_in_the_mean(dtype):
    torch.manual_seed(0)
    value = torch.rand(1) + 1
    n = 4096
    values = value.expand(ROWS, n).clone()
    rounded = torch.empty(ROWS, n, dtype=dtype)
    round_by_odds(values, odds(n, CUT_BITS[dtype], value.device), rounded)
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
    same = scaled_by_odds(x, torch.ones(32))
    assert torch.equal(same, x)
    assert torch.equal(torch.signbit(same), torch.signbit(x))
    assert torch.equal(sum_by_odds(x, torch.zeros_like(x, dtype=torch.float32)), x)


def test_what_is_no_number_stays_none():
    x = torch.tensor([[float("nan"), 1.0]]).bfloat16()
    assert scaled_by_odds(x, torch.tensor([1.3, 1.3])).isnan().tolist() == [[True, False]]


def test_the_same_sequence_gives_the_same_bits_in_any_batch():
    torch.manual_seed(0)
    x, factor = torch.randn(5, 150, 16).bfloat16(), 1 + 1e-3 * torch.randn(16)
    together = scaled_by_odds(x, factor)
    for row in range(5):
        assert torch.equal(scaled_by_odds(x[row : row + 1], factor)[0], together[row])
        assert torch.equal(scaled_by_odds(x[row], factor), together[row])
        assert torch.equal(scaled_by_odds(x[row, :70], factor), together[row, :70])


def test_in_one_go_as_by_blocks(monkeypatch):
    """A GPU takes all positions at once."""
    from retain.fast import rounding

    torch.manual_seed(0)
    x, factor = torch.randn(2, 150, 16).bfloat16(), 1 + 1e-3 * torch.randn(16)
    by_blocks = scaled_by_odds(x, factor)
    whole = sum_by_odds(x, x.float() * (factor - 1))
    assert (by_blocks != whole).float().mean() < 0.01  # x·f and x + x(f − 1) differ in the last digit of float32
    assert rounding.ROWS == ROWS


@pytest.mark.parametrize("shape", [(16,), (0, 16), (3, 0, 16), (2, 3, 4, 16)])
def test_any_number_of_dimensions(shape):
    assert scaled_by_odds(torch.ones(shape).bfloat16(), torch.full((16,), 1.5)).shape == shape
