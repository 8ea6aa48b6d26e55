"""The private names of autograd that `retain.kernels.recompute` reads, one by one.

Where one is gone the fused forms stay right (they keep x itself) but take more memory. This says which name, and in
which torch.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from retain.kernels import recompute

WIDTH = 8
OPERATIONS = {
    "MulBackward0": (lambda x: x * x.sigmoid(), ("_saved_self", "_saved_other")),
    "ToCopyBackward0": (lambda x: x.to(torch.bfloat16), ("_input_metadata", "next_functions")),
    "NativeLayerNormBackward0": (
        nn.LayerNorm(WIDTH),
        ("_saved_input", "_saved_result1", "_saved_result2", "_saved_weight", "_saved_bias"),
    ),
    "GeluBackward0": (nn.functional.gelu, ("_saved_self", "_saved_approximate")),
    "SiluBackward0": (nn.functional.silu, ("_saved_self",)),
}


def advice(name: str) -> str:
    return (
        f"torch {torch.__version__} has no {name} any more: read in its release notes how it is called now, change "
        "retain/kernels/recompute.py, or drop that rule there (x is then kept as it is)."
    )


@pytest.fixture
def x():
    return torch.randn(3, WIDTH, requires_grad=True) * 1.0


def test_each_rule_has_its_canary():
    assert OPERATIONS.keys() == recompute._RULES.keys()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_named_and_keeps_what_is_read(operation, x):
    make, names = OPERATIONS[operation]
    node = make(x).grad_fn
    assert node.name() == operation, advice(f"operation called {operation}")
    for name in names:
        assert hasattr(node, name), advice(f"{operation}.{name}")
    kept = [name for name in dir(node) if name.startswith("_raw_saved_")]
    assert kept or operation == "ToCopyBackward0", advice(f"{operation}._raw_saved_*")
    for name in kept:
        assert hasattr(getattr(node, name), "unpack_hook"), advice(f"{name}.unpack_hook")


@pytest.mark.parametrize("operation", ["MulBackward0", "NativeLayerNormBackward0"])
def test_a_rule_finds_the_origin(operation, x):
    output = OPERATIONS[operation][0](x)
    kept = recompute.keep(output)
    assert not any(tensor is output for tensor in kept.tensors), advice(f"origin of {operation}")
    torch.testing.assert_close(kept.recompute(*kept.tensors), output.detach())


def test_the_engine_and_its_hooks_are_where_they_are_looked_for():
    assert hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks"), advice("_top_saved_tensors_default_hooks")
    assert hasattr(torch.autograd.Variable._execution_engine, "queue_callback"), advice("queue_callback")
    assert isinstance(torch.ones(1)._version, int), advice("Tensor._version")
