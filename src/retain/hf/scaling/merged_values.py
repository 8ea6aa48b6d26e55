"""The parameters that merging changes in one module, before and after, in float32 or better."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.scaling.parts import method_name, parts
from retain.hf.tuners.base_weight import at_least_float32


class Merged(NamedTuple):
    """One parameter of a changed module.

    Attributes:
        key: its name in the module that the base has.
        before: of the base.
        after: with the active adapters.
    """

    key: str
    before: Tensor
    after: Tensor


def outermost_parts(model: nn.Module) -> list[tuple[str, Any]]:
    """Changed modules by name, one each: of adapters inside one another the outermost, which holds the others."""
    kept: dict[str, Any] = {}
    for name, module in parts(model):
        kept.setdefault(name, module)
    return list(kept.items())


def merged_values(model: nn.Module, name: str, module: Any) -> Iterator[Merged]:
    """The parameters of one changed module that its active adapters change, merged in a copy of the module.

    Args:
        model: that holds it.
        name: of the module, for refusals.
        module: one of `outermost_parts`.

    Raises:
        InputError: its method cannot be merged.
    """
    if isinstance(module, ModulesToSaveWrapper):
        yield from _saved(module)
        return
    layer = copy.deepcopy(module)
    layer = layer if any(p.dtype == torch.float64 for p in layer.get_base_layer().parameters()) else layer.float()
    before = {key: p.detach().clone() for key, p in layer.get_base_layer().named_parameters()}
    try:
        for inner in reversed([part for part in layer.modules() if isinstance(part, BaseTunerLayer)]):
            inner.merge()  # each changes its own part: two experts' parameters, or the ids that TrainableTokens has
    except (NotImplementedError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        kind = method_name(model, module, next(iter(module.active_adapters), ""))
        raise InputError(f"{name}: {kind} cannot be merged: {error}") from error
    for key, after in layer.get_base_layer().named_parameters():
        if not torch.equal(after, before[key]):
            yield Merged(key, before[key], after.detach())


def _saved(module: Any) -> Iterator[Merged]:
    original = dict(module.original_module.named_parameters())
    adapter = next(iter(module.active_adapters), None)
    if adapter in module.modules_to_save:
        for key, tensor in module.modules_to_save[adapter].named_parameters():
            yield Merged(key, at_least_float32(original[key].detach()), at_least_float32(tensor.detach()))
