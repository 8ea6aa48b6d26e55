"""When the fast forms may be used: one rule and one switch for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_PLAIN: list[None] = []
"""One entry for each context that asks for the plain forms; of the process, as autograd has threads of its own."""


@contextmanager
def plain() -> Iterator[None]:
    """Use the plain forms inside the context: the same equations in ordinary operations, several times differentiable.

    For the whole process. A forward pass belongs to the form that it was made with, whatever is switched when its
    backward pass runs; but with gradient checkpointing, which makes it again then, the backward pass must be inside.
    """
    _PLAIN.append(None)
    try:
        yield
    finally:
        _PLAIN.pop()


def usable(x: Tensor, *others: Tensor | None) -> bool:
    """Whether a fast form may compute on these tensors.

    Not where the plain forms were asked for; not while torch.compile traces, which fuses plain operations by itself, or
    torch.jit, which cannot save functions of Python's; not under transforms of functions and forward-mode derivatives
    (vmap, jvp, …); not under autocast, which chooses types in a way of its own; and only with ordinary dense tensors of
    floating-point numbers on one device.

    Args:
        x: the input of a layer.
        others: weights and adapters; None is passed over.
    """
    if _PLAIN or torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:  # noqa: SLF001 -- typed
        return False
    if torch.is_autocast_enabled(x.device.type) or forward_ad._current_level >= 0:  # noqa: SLF001 -- as below
        return False
    if torch._C._are_functorch_transforms_active():  # noqa: SLF001 -- torch has no public question for it
        return False
    given = [x, *(other for other in others if other is not None)]
    return all(
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout == torch.strided
        and tensor.is_floating_point()
        and tensor.device == x.device
        for tensor in given
    )
