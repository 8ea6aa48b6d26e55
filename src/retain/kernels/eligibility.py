"""Eligibility of the fused forms: one rule and one switch for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_REFERENCE_ONLY: list[None] = []
"""One entry for each `reference_only` context; of the process, as autograd has threads of its own."""


@contextmanager
def reference_only() -> Iterator[None]:
    """Use the reference forms inside the context: the same equations in ordinary operations, twice differentiable.

    It holds for the process. A forward pass belongs to the form that it was made with, whatever is switched when its
    backward pass runs. With gradient checkpointing, which recomputes it then, the backward pass must be inside.
    """
    _REFERENCE_ONLY.append(None)
    try:
        yield
    finally:
        _REFERENCE_ONLY.pop()


def full_types(x: Tensor) -> AbstractContextManager[Any]:
    """The types of the tensors themselves: no autocast, where it is on in this thread."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def eligible(x: Tensor, *others: Tensor | None) -> bool:
    """Tell whether a fused form may compute on these tensors.

    It may not inside `reference_only`; while torch.compile traces, which fuses ordinary operations by itself, or
    torch.jit, which cannot save Python functions; under transforms of functions and forward-mode derivatives (vmap,
    jvp, …); or under autocast, which chooses types in a way of its own. All tensors must be ordinary, dense, of
    floating-point numbers and on one device.

    Args:
        x: the input of a layer.
        others: weights and adapters; None is passed over.
    """
    tracing = torch._C._get_tracing_state() is not None  # noqa: SLF001 -- typed
    if _REFERENCE_ONLY or torch.compiler.is_compiling() or tracing:
        return False
    if torch.is_autocast_enabled(x.device.type) or forward_ad._current_level >= 0:  # noqa: SLF001 -- as below
        return False
    if torch._C._are_functorch_transforms_active():  # noqa: SLF001 -- torch has no public way to ask
        return False
    given = [x, *(other for other in others if other is not None)]
    return all(
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout == torch.strided
        and tensor.is_floating_point()
        and tensor.device == x.device
        for tensor in given
    )
