"""A frozen linear layer whose input features are scaled: y = W0((1 + λ) ⊙ x) + b (VeFA, arXiv 2510.19155).

    ∂L/∂λ = Σ_tokens x ⊙ (W0ᵀ g),   ∂L/∂x = (1 + λ) ⊙ (W0ᵀ g),   g = ∂L/∂y

(over 16 bits 1 + λ is rounded to the nearest in ∂L/∂x, so a λ below 0.002 does not turn that gradient).

Kept for the backward pass: λ, and x or what it is recomputed from (`retain.kernels.recompute`). Over a 16-bit layer
x(1 + λ) is rounded stochastically (`retain.kernels.stochastic_rounding`), so that a λ below 0.002 acts, at the cost of
one matrix product and not two. In float32 on a CPU the smaller of x and W0 is scaled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from retain.kernels.blocks import rows_at_once
from retain.kernels.eligibility import full_types
from retain.kernels.input_gradient import input_gradient
from retain.kernels.recompute import Kept, keep
from retain.kernels.stochastic_rounding import CUT_BITS, scaled_stochastically, scaled_to_nearest

FEWEST_BLOCKS = 8
"""Of rows that are summed up; the sum of one block with all others is a pass of its own over as many rows."""


def reference(x: Tensor, weight: Tensor, bias: Tensor | None, lam: Tensor) -> Tensor:
    """The equation in ordinary operations: x in the type of λ, rounded once to that of W0."""
    return linear((x + x * lam).to(weight.dtype), weight, bias)


def scaled_linear(x: Tensor, weight: Tensor, bias: Tensor | None, lam: Tensor, *, stochastic: bool = True) -> Tensor:
    """Compute y = W0((1 + λ) ⊙ x) + b.

    Args:
        x: (…, n), in the type of W0.
        weight: W0 (m, n), frozen.
        bias: b (m,), frozen, or None.
        lam: λ (n,), in the type of W0 or, over 16 bits, float32.
        stochastic: round (1 + λ) ⊙ x to 16 bits stochastically; otherwise to the nearest, which erases λ below 0.002.

    Returns:
        (…, m). It can be differentiated once.
    """
    if not (torch.is_grad_enabled() and (x.requires_grad or lam.requires_grad)):
        return _product(x, weight, bias, lam, stochastic=stochastic)
    y: Tensor = _ScaledLinear.apply(x, weight, bias, lam, stochastic)  # type: ignore[no-untyped-call]  # torch's
    return y


def scale_features(x: Tensor, lam: Tensor, *, stochastic: bool = True) -> Tensor:
    """Compute (1 + λ) ⊙ x in the type of x; over 16 bits rounded stochastically, and x bit for bit where λ is 0.

    Args:
        x: (…, S, n).
        lam: λ (n,), or (…, 1, n).
        stochastic: otherwise rounded to the nearest.
    """
    factor = 1 + lam
    if x.dtype in CUT_BITS and lam.dtype == torch.float32:
        return scaled_stochastically(x, factor) if stochastic else scaled_to_nearest(x, factor)
    return x * factor.to(x.dtype)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, lam: Tensor, *, stochastic: bool) -> Tensor:
    """W0((1 + λ) ⊙ x) + b, with the smaller of x and W0 scaled; over 16 bits always x.

    There the error of rounding a scaled W0 would be the same for all tokens.
    """
    tokens = x.numel() // max(x.shape[-1], 1)
    if x.device.type == "cpu" and x.dtype not in CUT_BITS and tokens > len(weight):
        return linear(x, weight * (1 + lam).to(weight.dtype), bias)
    return linear(scale_features(x, lam, stochastic=stochastic), weight, bias)


class _ScaledLinear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, lam: Tensor, stochastic: bool) -> Tensor:
        kept = keep(x) if ctx.needs_input_grad[3] else Kept()
        ctx.recompute = kept.recompute
        ctx.save_for_backward(weight, lam, *kept.tensors)
        return _product(x, weight, bias, lam, stochastic=stochastic)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        weight, lam, *kept = ctx.saved_tensors
        with full_types(g):
            pulled = input_gradient(g, weight)
            x = ctx.recompute(*kept) if ctx.needs_input_grad[3] else None
            d_x, d_lam = _both_gradients(pulled, x, (1 + lam).to(g.dtype) if ctx.needs_input_grad[0] else None)
        d_lam = None if d_lam is None else d_lam.to(lam.dtype)
        return d_x, None, None, d_lam, None


def _both_gradients(pulled: Tensor, x: Tensor | None, factor: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x and of λ from W0ᵀ g, which is overwritten; on a CPU both from one reading of it.

    Args:
        pulled: W0ᵀ g (…, n).
        x: of the same shape; None where λ needs no gradient.
        factor: 1 + λ (n,) in the type of g; None where x needs no gradient.
    """
    if x is None or factor is None or pulled.device.type != "cpu":
        d_lam = None if x is None else column_dot(pulled, x)
        return None if factor is None else pulled.mul_(factor), d_lam
    rows, columns = pulled.reshape(-1, pulled.shape[-1]), x.reshape(-1, x.shape[-1])
    d_lam = _by_blocks(rows, columns, factor)
    return rows.view(pulled.shape), d_lam


def column_dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum a ⊙ b over all but the last dimension, (…, n) each to (n,), in float32 or better."""
    flat_a, flat_b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    if a.device.type == "cpu":
        return _by_blocks(flat_a, flat_b, None)
    if a.dtype == torch.float16:  # whose products would overflow
        flat_a = flat_a.float()
    return (flat_a * flat_b).sum(0, dtype=torch.promote_types(a.dtype, torch.float32))


def _by_blocks(a: Tensor, b: Tensor, factor: Tensor | None) -> Tensor:
    """Σ a ⊙ b over rows (T, n) in float32 or better; with a factor (n,), a becomes a ⊙ factor, block by block."""
    wide = torch.promote_types(a.dtype, torch.float32)
    step = max(min(rows_at_once(a.shape[1], wide.itemsize), len(a) // FEWEST_BLOCKS), 1)
    total = torch.zeros(step, a.shape[1], dtype=wide)
    copies = None if a.dtype == wide else (torch.empty_like(total), torch.empty_like(total))
    for start in range(0, len(a), step):
        one, other = a[start : start + step], b[start : start + step]
        if copies is None:
            total[: len(one)].addcmul_(one, other)
        else:
            total[: len(one)].addcmul_(copies[0][: len(one)].copy_(one), copies[1][: len(one)].copy_(other))
        if factor is not None:
            one.mul_(factor)
    return total.sum(0)
