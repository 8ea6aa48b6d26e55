"""Running second moments against sums written out; merging; the moment of inputs with a bias."""

import pytest
import torch

from retain.activations.moments import empty, merge, second_moment, update

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SAMPLES = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2])


def upper(gram):
    return torch.triu(gram)


def test_tokens_are_summed_in_parts():
    sums = empty(5, torch.float64)
    update(sums, X[:7], SAMPLES[:7])
    update(sums, X[7:], SAMPLES[7:] - 1)
    torch.testing.assert_close(upper(sums.gram), upper(X.T @ X))
    torch.testing.assert_close(sums.total, X.sum(dim=0))
    assert (sums.weight, sums.tokens) == (12.0, 12)
    assert sums.nbytes == 8 * (25 + 5)


def test_the_energy_is_that_of_the_largest_sample():
    sums = empty(5, torch.float64)
    update(sums, X, SAMPLES)
    assert sums.energy == pytest.approx(max(float(X[k == SAMPLES].square().sum()) for k in range(3)))


def test_a_scale_divides_the_tokens_of_its_sample():
    scale = torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64)
    sums = empty(5, torch.float64)
    update(sums, X, SAMPLES, scale)
    factor = scale[SAMPLES]
    scaled = X * factor[:, None]
    torch.testing.assert_close(upper(sums.gram), upper(scaled.T @ scaled))
    torch.testing.assert_close(sums.total, (scaled * factor[:, None]).sum(dim=0))
    assert sums.weight == pytest.approx(float(factor.square().sum()))
    assert sums.tokens == 12


def test_nothing_adds_nothing():
    sums = empty(5)
    update(sums, X[:0].float(), SAMPLES[:0])
    assert (sums.tokens, sums.energy, float(sums.gram.abs().sum())) == (0, 0.0, 0.0)


def test_half_precision_is_summed_in_that_of_the_moments():
    sums = empty(5)
    update(sums, X.bfloat16(), SAMPLES)
    expected = X.bfloat16().float()
    torch.testing.assert_close(upper(sums.gram), upper(expected.T @ expected))


def test_merged_sums_are_those_of_all_tokens():
    left, right, both = empty(5, torch.float64), empty(5, torch.float64), empty(5, torch.float64)
    update(left, X[:8], SAMPLES[:8])
    update(right, X[8:], SAMPLES[8:])
    update(both, X, SAMPLES)
    merged = merge(left, right)
    torch.testing.assert_close(merged.gram, both.gram)
    assert (merged.tokens, merged.weight) == (both.tokens, both.weight)
    assert merged.energy == pytest.approx(both.energy)


@pytest.mark.parametrize("bias", [False, True])
def test_the_second_moment_is_symmetric_and_per_token(bias):
    sums = empty(5)
    update(sums, X.float(), SAMPLES)
    inputs = torch.cat([X, torch.ones(12, 1, dtype=X.dtype)], dim=1) if bias else X
    found = second_moment(sums, bias=bias)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, inputs.T @ inputs / 12, rtol=1e-5, atol=1e-6)
