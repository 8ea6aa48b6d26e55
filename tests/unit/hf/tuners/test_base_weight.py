"""A base layer's weight as a matrix, whatever its layout, rewritten and put back bit for bit."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from retain.errors import MergeError
from retain.hf.tuners.base_weight import Original, as_matrix, at_least_float32, features, is_linear

LAYERS = {"linear": lambda: nn.Linear(5, 3), "conv1d": lambda: Conv1D(3, 5)}


def held(base):
    return SimpleNamespace(base_layer=base, quantization_backend=None)


@pytest.mark.parametrize("kind", LAYERS)
def test_inputs_outputs_and_the_matrix(kind):
    base = LAYERS[kind]()
    assert is_linear(base)
    assert features(base) == (5, 3)
    assert as_matrix(base, base.weight).shape == (3, 5)
    assert as_matrix(base, as_matrix(base, base.weight)).shape == base.weight.shape
    assert not is_linear(nn.Conv2d(3, 3, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", LAYERS)
def test_what_is_written_is_rounded_once_and_taken_back_bit_for_bit(kind, dtype):
    base = LAYERS[kind]().to(dtype)
    before, layer = base.weight.detach().clone(), held(base)
    original = Original(layer)
    assert torch.equal(original.matrix(), as_matrix(base, before))
    change = torch.randn(3, 5)
    original.write(layer, change)
    assert torch.equal(as_matrix(base, base.weight), change.to(dtype))
    assert torch.equal(original.matrix(), as_matrix(base, before))
    original.restore(layer)
    assert torch.equal(base.weight, before)


def test_a_weight_that_is_not_here_cannot_be_rewritten():
    with pytest.raises(MergeError, match="sharded or offloaded"):
        Original(held(nn.Linear(5, 3, device="meta")))


def test_precision_is_never_lowered():
    assert at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
