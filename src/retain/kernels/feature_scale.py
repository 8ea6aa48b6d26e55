"""A frozen linear layer whose input features are scaled: y = W0((1 + λ) ⊙ x) + b (VeFA, arXiv 2510.19155).

    ∂L/∂λ = Σ_tokens x ⊙ (W0ᵀ g),   ∂L/∂x = (1 + λ) ⊙ (W0ᵀ g),   g = ∂L/∂y

(over 16 bits 1 + λ is rounded to the nearest in ∂L/∂x, so a λ below 0.002 does not turn that gradient).

Kept for the backward pass: λ, and x or what it is recomputed from (`retain.kernels.recompute`). Over a 16-bit layer
x(1 + λ) is rounded stochastically (`retain.kernels.stochastic_rounding`), so that a λ below 0.002 acts, at the cost of
one matrix product and not two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from retain.kernels.recompute import Kept, keep
from retain.kernels.stochastic_rounding import BLOCK, CUT_BITS, scaled_stochastically, scaled_to_nearest


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
        return linear(scale_features(x, lam, stochastic=stochastic), weight, bias)
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


class _ScaledLinear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, lam: Tensor, stochastic: bool) -> Tensor:
        kept = keep(x) if ctx.needs_input_grad[3] else Kept()
        ctx.recompute = kept.recompute
        ctx.save_for_backward(weight, lam, *kept.tensors)
        return linear(scale_features(x, lam, stochastic=stochastic), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        weight, lam, *kept = ctx.saved_tensors
        with torch.autocast(g.device.type, enabled=False):
            pulled = g @ weight
            d_lam = column_dot(pulled, ctx.recompute(*kept)).to(lam.dtype) if ctx.needs_input_grad[3] else None
            d_x = pulled.mul_((1 + lam).to(g.dtype)) if ctx.needs_input_grad[0] else None
        return d_x, None, None, d_lam, None


def column_dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum a ⊙ b over all but the last dimension, (…, n) each to (n,), in float32 or better."""
    flat_a, flat_b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    if a.dtype == torch.float16:  # whose products would overflow
        flat_a = flat_a.float()
    if a.dtype in CUT_BITS or a.device.type != "cpu":
        return (flat_a * flat_b).sum(0, dtype=torch.promote_types(a.dtype, torch.float32))
    total = torch.zeros(BLOCK, a.shape[-1], dtype=a.dtype)  # row by row within the cache: a quarter faster on a CPU
    full = len(flat_a) - len(flat_a) % BLOCK
    for start in range(0, full, BLOCK):
        total.addcmul_(flat_a[start : start + BLOCK], flat_b[start : start + BLOCK])
    return total.sum(0) + (flat_a[full:] * flat_b[full:]).sum(0)
