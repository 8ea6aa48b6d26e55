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

from torch import nn

_METADATA = frozenset({"dtype", "device", "shape", "ndim", "size", "dim", "numel", "data_ptr", "requires_grad"})
"""What may be asked of a weight without a computation on it."""

_HARMLESS_CALLS = frozenset({"isinstance", "hasattr", "getattr", "id", "type"})

_SETTING_UP = ("__init__", "_init", "init_", "reset_", "extra_repr", "from_", "convert_")
"""Beginnings of the names of functions that run before, not in, a forward pass."""


def read_directly(parent: nn.Module, name: str) -> bool:
    """Tell whether the code of a module reads the weight of its child `name` in a computation.

    Args:
        parent: the module that holds the child.
        name: the child's attribute.
    """
    return any(name in _reads(kind) for kind in type(parent).__mro__)


def directly_read_layers(model: nn.Module) -> list[str]:
    """The names of all modules of a model whose weight is read without calling them, in its order."""
    return [
        f"{key}.{name}".removeprefix(".")
        for key, parent in model.named_modules()
        for name, _ in parent.named_children()
        if read_directly(parent, name)
    ]


@cache
def _reads(kind: type) -> frozenset[str]:
    """The children whose weights the class's own functions read; none where its source is not at hand."""
    if kind is nn.Module or not issubclass(kind, nn.Module):
        return frozenset()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return frozenset()
    found = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and not function.name.startswith(_SETTING_UP):
            found |= set(_weights_in(function))
    return frozenset(found)


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
