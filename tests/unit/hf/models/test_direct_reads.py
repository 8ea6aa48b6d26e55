"""Which weights a module's code reads without calling their layers."""

import pytest
from torch import nn
from torch.nn.functional import linear

from retain.hf.models.direct_reads import layers_passed_over, passed_over, read_directly


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


class Fused(Reader):
    """The same with a convolution that goes to a kernel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 1)

    def fused(self, x):
        return linear(super().fused(x), self.conv.weight[..., 0])


@pytest.mark.parametrize("kind", [Reader, Heir])
def test_what_is_computed_with_is_read_and_what_is_asked_for_its_type_is_not(kind):
    module = kind()
    assert [name for name, _ in module.named_children() if read_directly(module, name)] == ["read", "kernel"]


def test_what_is_never_called_is_passed_over_and_all_that_is_read_where_kernels_are_fused():
    assert layers_passed_over(nn.ModuleDict({"inner": Reader()})) == ["inner.read"]
    assert layers_passed_over(Fused()) == ["read", "kernel", "conv"]


def test_torchs_own_modules_and_code_that_is_not_at_hand():
    assert passed_over(nn.MultiheadAttention(4, 2), "out_proj")
    assert passed_over(nn.TransformerEncoderLayer(4, 2), "linear1")
    assert not passed_over(nn.TransformerDecoderLayer(4, 2), "linear1")
    unseen = type("Unseen", (nn.Module,), {})
    assert not passed_over(unseen(), "anything")
