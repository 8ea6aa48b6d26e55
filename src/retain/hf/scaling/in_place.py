"""Give a model a part of its update for good, in the tensors that it has."""

from __future__ import annotations

import torch
from torch import nn

from retain.errors import InputError
from retain.hf.models.sides import is_adapted
from retain.hf.scaling.parts import Alpha, Factor, alphas, check_scalable, factors, keeps_its_form, parts
from retain.hf.scaling.scaled import interpolated


@torch.no_grad()
def scale_in_place(model: nn.Module, alpha: Alpha, *, base: nn.Module | None = None) -> None:
    """Scale the active adapters' update by α, to the bit what the model does inside `scaled`; it cannot be undone.

    Args:
        model: a model with PEFT adapters, or one that was trained in full.
        alpha: as for `scaled`.
        base: the model that a fully trained one came from.

    Raises:
        InputError: the update is not linear in any of its factors (DoRA, OFT, …), so the adapter at α is none of its
            form; or as for `scaled`. Nothing was changed.
        MergeError: adapters are merged.
    """
    todo: dict[int, tuple[Factor, float]] = {}
    for factor, strength in _adapted(model, alpha) if is_adapted(model) else _in_full(model, alpha, base):
        todo.setdefault(id(factor.tensor), (factor, strength))
    for factor, strength in todo.values():
        factor.tensor.copy_(factor.at(strength))


def bent(model: nn.Module) -> str | None:
    """The reason why a model's active adapters cannot be scaled in place; None if they can.

    Returns:
        A sentence that names the method and a layer, or None.
    """
    active = {name for _, module in parts(model) for name in module.active_adapters}
    return next(filter(None, (keeps_its_form(model, name) for name in sorted(active))), None)


def _in_full(model: nn.Module, alpha: Alpha, base: nn.Module | None) -> list[tuple[Factor, float]]:
    if base is None:
        raise InputError("a model that was trained in full is scaled beside its base; give base=.")
    return interpolated(model, base, alpha)


def _adapted(model: nn.Module, alpha: Alpha) -> list[tuple[Factor, float]]:
    check_scalable(model)
    changed = parts(model)
    table = alphas([name for name, _ in changed], alpha)
    found: list[tuple[Factor, float]] = []
    for name, module in changed:
        if table[name] == 1:
            continue
        if (linear := factors(module, module.active_adapters)) is None:
            raise InputError(bent(model) or "")
        found += [(factor, table[name]) for factor in linear]
    return found
