"""The meaning of 'all-linear': all linear layers that the task's inputs go through and that can act, but the head.

Left out are the layers of modules that a text does not reach (a vision tower, its projector), and those whose weight
the model's code reads without calling them (`nn.MultiheadAttention`, the fused kernels of Mamba), where an adapter
would be passed over.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from torch import nn

from retain.hf.models.direct_reads import layers_passed_over
from retain.hf.models.reach import unreached
from retain.hf.models.sides import root_of
from retain.hf.tuners.base_weight import is_linear

ALL_LINEAR = "all-linear"
"""PEFT's shorthand."""


class LeftOut(NamedTuple):
    """The parts of a model that 'all-linear' leaves out, by their names in the transformers model.

    Attributes:
        unreached: the outermost modules with linear layers that a text does not go through.
        by_weight: linear layers elsewhere whose weight is read without calling them.
    """

    unreached: list[str]
    by_weight: list[str]


def is_all_linear(targets: Any) -> bool:
    """Tell whether `target_modules` is PEFT's shorthand for all linear layers."""
    return isinstance(targets, str) and targets.lower() == ALL_LINEAR


def left_out(model: nn.Module) -> LeftOut:
    """Find what 'all-linear' leaves out besides the output head; nothing is changed.

    Args:
        model: any model, also one without weights (meta device) or with adapters.
    """
    root = root_of(model)
    away = [name for name in unreached(model) if _has_linear(root, name)]
    inside = tuple(f"{name}." for name in away)
    layers = [name for name in layers_passed_over(root) if _has_linear(root, name)]
    return LeftOut(away, [name for name in layers if name not in away and not name.startswith(inside)])


def _has_linear(root: nn.Module, name: str) -> bool:
    return any(is_linear(module) or hasattr(module, "in_features") for module in root.get_submodule(name).modules())


def excluding(given: str | Collection[str] | None, names: Collection[str]) -> str | Collection[str] | None:
    """`exclude_modules` for what a user excludes and for all that lies in some modules.

    Args:
        given: the user's, as PEFT takes it.
        names: of modules, from the root.

    Returns:
        A regular expression for whole names; `given` itself where there are no names.
    """
    if not names:
        return given
    ends = [given] if isinstance(given, str) else [rf"(.*\.)?{re.escape(end)}" for end in sorted(given or ())]
    return "|".join([*ends, *(rf"{re.escape(name)}(\..*)?" for name in names)])


def all_linear_excludes(model: nn.Module, given: str | Collection[str] | None) -> str | Collection[str] | None:
    """`exclude_modules` of a config for 'all-linear': what a user excludes, and what that leaves out."""
    found = left_out(model)
    return excluding(given, [*found.unreached, *found.by_weight])


def without_default(root: nn.Module) -> bool:
    """Tell whether a model for which PEFT names no default layers gets all linear ones: one that generates text."""
    return bool(getattr(root, "can_generate", lambda: False)())
