"""Layers whose weight a model's code reads without calling the layer, so that an adapter in its place does not act.

`nn.MultiheadAttention`, torch's fast path of an encoder layer, and the fused kernels of Mamba, Bamba and others take
`self.out_proj.weight` as it lies. What is on the layer (an adapter, a hook) is then passed over without a word, in
every call or only on some devices. The code itself tells: the forward of the module that holds the layer.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd

_METADATA = frozenset({"dtype", "device", "shape", "ndim", "size", "dim", "numel", "data_ptr", "requires_grad"})
"""What may be asked of a weight without a computation on it."""

_HARMLESS_CALLS = frozenset({"isinstance", "hasattr", "getattr", "id", "type"})

_SETTING_UP = ("__init__", "_init", "init_", "reset_", "extra_repr", "from_", "convert_")
"""Beginnings of the names of functions that run before, not in, a forward pass."""


def passed_over(parent: nn.Module, name: str) -> bool:
    """Tell whether an adapter on the child `name` of a module would be passed over, always or on some devices.

    So it is where the code reads its weight and never calls it, where torch has a fast path of its own, and where fused
    kernels are at work: code that hands them the weight of a convolution, as Mamba's does.

    Args:
        parent: the module that holds the child.
        name: the child's attribute.
    """
    if not read_directly(parent, name):
        return False
    if isinstance(parent, (nn.MultiheadAttention, nn.TransformerEncoderLayer)) or name not in _of(parent, "calls"):
        return True
    children = dict(parent.named_children())
    return any(isinstance(children.get(other), _ConvNd) for other in _of(parent, "weights"))


def read_directly(parent: nn.Module, name: str) -> bool:
    """Tell whether the code of a module reads the weight of its child `name` in a computation, in some branch."""
    return name in _of(parent, "weights")


def layers_passed_over(model: nn.Module) -> list[str]:
    """The names of all modules of a model of which `passed_over` holds, in its order."""
    return [
        f"{key}.{name}".removeprefix(".")
        for key, parent in model.named_modules()
        for name, _ in parent.named_children()
        if passed_over(parent, name)
    ]


def _of(parent: nn.Module, what: str) -> set[str]:
    return {name for kind in type(parent).__mro__ for name in getattr(_uses(kind), what)}


class _Uses(NamedTuple):
    """The children c whose weight `self.c.weight` a class computes with, and those that it calls as `self.c(…)`."""

    weights: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()


@cache
def _uses(kind: type) -> _Uses:
    """What the class's own functions do with its children; nothing where its source is not at hand."""
    if kind is nn.Module or not issubclass(kind, nn.Module):
        return _Uses()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return _Uses()
    weights, calls = set(), set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and not function.name.startswith(_SETTING_UP):
            weights |= set(_weights_in(function))
            called = (_child(node.func) for node in ast.walk(function) if isinstance(node, ast.Call))
            calls |= {name for name in called if name is not None}
    return _Uses(frozenset(weights), frozenset(calls))


def _weights_in(node: ast.AST, *, harmless: bool = False) -> Iterator[str]:
    """The children c of which the code below a node computes with `self.c.weight`."""
    if isinstance(node, ast.Attribute):
        if node.attr == "weight" and isinstance(node.ctx, ast.Load) and not harmless and (name := _child(node.value)):
            yield name
        harmless = node.attr in _METADATA
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _HARMLESS_CALLS:
        harmless = True
    for inner in ast.iter_child_nodes(node):
        yield from _weights_in(inner, harmless=harmless and isinstance(inner, ast.Attribute))


def _child(node: ast.expr) -> str | None:
    """The attribute c of an expression `self.c`; None for any other."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    return None
