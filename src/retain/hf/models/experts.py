"""The experts and routers of a mixture, found by their form: they are bare parameters, in no linear layer."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

_FUSED_DIMENSIONS = 3
_MATRIX = 2


def is_experts(module: nn.Module) -> bool:
    """Tell whether a module holds fused experts: matrices in one parameter (experts, m, n)."""
    return bool(expert_names(module))


def expert_names(module: nn.Module) -> list[str]:
    """The names of a module's own parameters that hold a matrix for each expert.

    A kernel of a convolution has three dimensions too, and a table of positions is one matrix.
    """
    if isinstance(module, (_ConvNd, nn.modules.rnn.RNNBase)):
        return []
    own = _own(module)
    return [name for name, p in own if p.dim() == _FUSED_DIMENSIONS and p.shape[0] > 1]


def is_router(module: nn.Module, parent: nn.Module) -> bool:
    """Tell whether a module that is no linear layer chooses among the experts beside it: a bare matrix (experts, n)."""
    experts = [child for child in map(_bare, parent.children()) if is_experts(child)]
    weight = getattr(module, "weight", None)
    if not experts or isinstance(module, nn.Linear) or not isinstance(weight, Tensor) or weight.dim() != _MATRIX:
        return False
    return any(len(getattr(child, name)) == len(weight) for child in experts for name in expert_names(child))


def _bare(module: nn.Module) -> nn.Module:
    """A module without the adapters around it."""
    while isinstance(inner := getattr(module, "base_layer", None), nn.Module):
        module = inner
    return module


def _own(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    parametrized = getattr(module, "parametrizations", {})
    yield from module.named_parameters(recurse=False)
    for name in parametrized:
        yield name, parametrized[name].original
