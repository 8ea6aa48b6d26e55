"""What an initialisation is given, and the even split of what it gives back."""

import pytest
import torch

from retain.methods.initialisations.factors import FrozenLayer, split_evenly


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("bias", [None, torch.zeros(3)])
def test_the_moment_of_the_inputs_is_without_the_one_that_stands_for_the_bias(bias):
    moment = randn(6, 6) if bias is not None else randn(5, 5)
    layer = FrozenLayer("layer", randn(3, 5), bias, {"keep": moment})
    assert torch.equal(layer.input_moment("keep"), moment[:5, :5])


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_a_part_of_the_weight_is_split_evenly_whatever_the_scale(scale):
    W = randn(7, 5)
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    A, B = split_evenly(U, S, Vh, scale)
    torch.testing.assert_close(scale * B @ A, W)
    torch.testing.assert_close(A.norm(dim=1), B.norm(dim=0))
