"""The two thin products of a residual LoRA, with no more work backward than is needed.

Each is one product. Autograd would compute the gradient of the full factor of rank 2r, of which half belongs to the
frozen part; here only the trained half is computed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import linear


def down_weight(delta: Tensor, initial: Tensor) -> Tensor:
    """[ΔA ; A] (2r, n) with A = A0 + ΔA, from ΔA and A0 (r, n) each."""
    return torch.cat([delta, initial + delta])


def up_weight(initial: Tensor, delta: Tensor) -> Tensor:
    """[B0 | ΔB] (m, 2r), from B0 and ΔB (m, r) each."""
    return torch.cat([initial, delta], dim=1)


def down(x: Tensor, delta: Tensor, initial: Tensor) -> Tensor:
    """Codes [ΔA x | A x] with A = A0 + ΔA.

    Args:
        x: (…, n).
        delta: ΔA (r, n), trained.
        initial: A0 (r, n), frozen.

    Returns:
        (…, 2r).
    """
    if torch.is_autocast_enabled(x.device.type):  # which casts operands in a way of its own
        return linear(x, down_weight(delta, initial))
    codes: Tensor = _Down.apply(x, delta, initial)  # type: ignore[no-untyped-call]  # torch's
    return codes


def up(codes: Tensor, initial: Tensor, delta: Tensor) -> Tensor:
    """B0 ΔA x + ΔB A x from codes.

    Args:
        codes: [ΔA x | A x] (…, 2r).
        initial: B0 (m, r), frozen.
        delta: ΔB (m, r), trained.

    Returns:
        (…, m).
    """
    if torch.is_autocast_enabled(codes.device.type):
        return linear(codes, up_weight(initial, delta))
    y: Tensor = _Up.apply(codes, initial, delta)  # type: ignore[no-untyped-call]  # torch's
    return y


class _Down(Function):
    @staticmethod
    def forward(x: Tensor, delta: Tensor, initial: Tensor) -> Tensor:
        return linear(x, down_weight(delta, initial))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004 -- torch's
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, delta, initial = ctx.saved_tensors
        (g,) = grads
        into_x = g @ down_weight(delta, initial) if ctx.needs_input_grad[0] else None
        into_delta = None
        if ctx.needs_input_grad[1]:
            moved, full = g.reshape(-1, g.shape[-1]).chunk(2, dim=-1)
            into_delta = (moved + full).T @ x.reshape(-1, x.shape[-1])
        return into_x, into_delta, None


class _Up(Function):
    @staticmethod
    def forward(codes: Tensor, initial: Tensor, delta: Tensor) -> Tensor:
        return linear(codes, up_weight(initial, delta))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004 -- torch's
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        codes, initial, delta = ctx.saved_tensors
        (g,) = grads
        into_codes = g @ up_weight(initial, delta) if ctx.needs_input_grad[0] else None
        into_delta = None
        if ctx.needs_input_grad[2]:
            full = codes.reshape(-1, codes.shape[-1])[:, delta.shape[1] :]
            into_delta = g.reshape(-1, g.shape[-1]).T @ full
        return into_codes, None, into_delta
