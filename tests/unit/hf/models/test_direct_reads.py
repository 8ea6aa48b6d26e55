"""Which weights a module's code reads without calling their layers."""

import pytest
from torch import nn
from torch.nn.functional import linear

from retain.hf.models.direct_reads import directly_read_layers, read_directly


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("called", "read", "asked", "kernel", "given"):
            setattr(self, name, nn.Linear(4, 4))
        self.read.weight.data.zero_()  # at the start, not in a pass

    def forward(self, x):
        x = self.called(x).to(self.asked.weight.dtype)
        if isinstance(self.given.weight, nn.Parameter) and x.shape[-1] == self.asked.weight.shape[0]:
            x = linear(x, self.read.weight, self.read.bias)
        return self.fused(x)

    def fused(self, x):
        return x @ self.kernel.weight.T if x.is_cuda else self.kernel(x)


class Heir(Reader):
    def reset_parameters(self):
        self.called.weight.data.normal_()


@pytest.mark.parametrize("kind", [Reader, Heir])
def test_what_is_computed_with_is_read_and_what_is_asked_for_its_type_is_not(kind):
    model = nn.ModuleDict({"inner": kind()})
    assert directly_read_layers(model) == ["inner.read", "inner.kernel"]


def test_torchs_own_modules_and_code_that_is_not_at_hand():
    assert read_directly(nn.MultiheadAttention(4, 2), "out_proj")
    assert read_directly(nn.TransformerEncoderLayer(4, 2), "linear1")
    assert not read_directly(nn.TransformerDecoderLayer(4, 2), "linear1")
    unseen = type("Unseen", (nn.Module,), {})
    assert not read_directly(unseen(), "anything")
