"""A frozen linear layer with a low-rank update: y = W0 x + b + s·B A x (LoRA, arXiv 2106.09685, equation 3).

    c = A x,   ∂L/∂B = s Σ g cᵀ,   ∂L/∂c = s Bᵀ g,   ∂L/∂A = Σ (∂L/∂c) xᵀ,   ∂L/∂x = W0ᵀ g + Aᵀ ∂L/∂c

One function for it all: the thin products are added into the results of the large ones, in place, in the layouts that
BLAS is fast in (`retain.kernels.thin_products`); over a 16-bit layer A and B are rounded down to it instead of x being
copied up. Kept for the backward pass: c (r numbers a token), and x or what it is recomputed from
(`retain.kernels.recompute`).

LoRFA (arXiv 2510.19155) shifts the input: W0(x + s·B A x) = W0 x + s·(W0 B) A x, of which the second is less work where
there are more tokens than outputs, and in 16 bits does not round a small shift away. Its gradients need no W0 B:

    d = W0ᵀ g,   ∂L/∂B = s Σ d cᵀ,   ∂L/∂c = s Bᵀ d,   ∂L/∂x = d + Aᵀ ∂L/∂c
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from retain.kernels.eligibility import full_types
from retain.kernels.input_gradient import input_gradient
from retain.kernels.recompute import Kept, keep
from retain.kernels.stochastic_rounding import CUT_BITS
from retain.kernels.thin_products import add_product_, codes, plus_product, token_sum, typed


def reference(x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """The equation in ordinary operations: the update in the type of A and B, the sum in that of W0."""
    return (linear(x, weight, bias) + scale * linear(linear(x.to(A.dtype), A), B)).to(weight.dtype)


def reference_inside(x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """W0(x + s·B A x) + b in ordinary operations, in the type of A and B."""
    shifted = x.to(A.dtype) + scale * linear(linear(x.to(A.dtype), A), B)
    return linear(shifted, weight.to(A.dtype), None if bias is None else bias.to(A.dtype)).to(weight.dtype)


def low_rank(x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, scale: float = 1.0) -> Tensor:
    """Compute y = W0 x + b + s·B A x.

    Args:
        x: (…, n), in the type of W0.
        weight: W0 (m, n), frozen.
        bias: b (m,), frozen, or None.
        A: (r, n), in any floating type; over 16 bits it is rounded to the type of x.
        B: (m, r), likewise.
        scale: s.

    Returns:
        (…, m), in the type of x. It can be differentiated once; gradients have the types of A and B.
    """
    return _applied(x, weight, bias, A, B, (scale, False))


def low_rank_inside(x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, scale: float = 1.0) -> Tensor:
    """Compute y = W0(x + s·B A x) + b: as `low_rank`, with B (n, r)."""
    return _applied(x, weight, bias, A, B, (scale, True))


def _applied(x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, how: tuple[float, bool]) -> Tensor:
    """Compute the layer, with a graph only where a gradient is needed."""
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, A, B))):
        return _forward(x, weight, bias, A, B, how)[0]
    y: Tensor = _LowRank.apply(x, weight, bias, A, B, how)  # type: ignore[no-untyped-call]  # torch's
    return y


def _forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, how: tuple[float, bool]
) -> tuple[Tensor, Tensor]:
    """The layer's output (…, m) and the codes (tokens, r)."""
    scale, inside = how
    flat = x.reshape(-1, x.shape[-1])
    code = codes(flat, typed(A, x))
    if inside and _shifts(flat, len(weight)):
        y = linear(plus_product(flat, code, typed(B, x), scale), weight, bias)
    else:
        y = add_product_(linear(flat, weight, bias), code, _up(weight, B, inside=inside), scale)
    return y.view(*x.shape[:-1], len(weight)), code


def _shifts(flat: Tensor, outputs: int) -> bool:
    """Tell whether W0(x + s·B c) is less work than W0 x + s·(W0 B) c, and as good."""
    return flat.device.type == "cpu" and flat.dtype not in CUT_BITS and len(flat) <= outputs


def _up(weight: Tensor, B: Tensor, *, inside: bool) -> Tensor:
    """The second factor, (m, r), in the type of W0."""
    B = typed(B, weight)
    return codes(weight, B.T) if inside else B


class _LowRank(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, how: tuple[float, bool]
    ) -> Tensor:
        ctx.scale, ctx.inside = how
        y, code = _forward(x, weight, bias, A, B, how)
        kept = keep(x) if ctx.needs_input_grad[3] else Kept()
        ctx.recompute = kept.recompute
        ctx.save_for_backward(weight, A, B, code if ctx.needs_input_grad[4] else None, *kept.tensors)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, A, B, code, *kept = ctx.saved_tensors
        needs_x, _, _, needs_A, needs_B, _ = ctx.needs_input_grad
        g = gradient.reshape(-1, gradient.shape[-1])
        with full_types(g):
            d_x = d_A = d_B = None
            d = input_gradient(g, weight) if needs_x else None
            by_up = ctx.inside
            if ctx.inside and d is not None and g.device.type == "cpu":
                by_up, read, second = False, d, typed(B, g)  # the gradient before W0 is there already
            else:
                read, second = g, _up(weight, B, inside=ctx.inside)
            d_code = codes(read, second.T, ctx.scale) if needs_x or needs_A else None
            if needs_B:
                d_second = token_sum(code, read, ctx.scale)
                d_B = typed((d_second @ weight if by_up else d_second).T, B)
            if d_code is not None and needs_A:
                d_A = typed(token_sum(d_code, ctx.recompute(*kept).reshape(-1, A.shape[1])), A)
            if d_code is not None and d is not None:
                d_x = d.addmm_(d_code, typed(A, g)).view(*gradient.shape[:-1], A.shape[1])
        return d_x, None, None, d_A, d_B, None
