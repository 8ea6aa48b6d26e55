"""A frozen linear layer whose input is shifted by a function of few parameters: y = W0(x + T(x)) + b, T linear in x.

    ∂L/∂x = p + Tᵀp,   the parameters' gradients by autograd of T alone,   p = W0ᵀ ∂L/∂y

Kept for the backward pass: the parameters, and x or what it is recomputed from (`retain.kernels.recompute`); T(x) is
made again there. Over a 16-bit layer x + T(x) is rounded stochastically, so that a small shift acts, at the cost of one
matrix product and not two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from retain.kernels.eligibility import full_types
from retain.kernels.input_gradient import input_gradient
from retain.kernels.recompute import keep
from retain.kernels.stochastic_rounding import CUT_BITS, sum_stochastically

Shift = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""T(x) of x (…, n), in the type of the parameters, and of those."""


def shifted_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    parameters: Sequence[Tensor],
    shift: Shift,
    *,
    stochastic: bool = True,
) -> Tensor:
    """Compute y = W0(x + T(x)) + b.

    Args:
        x: (…, n), in the type of W0.
        weight: W0 (m, n), frozen.
        bias: b (m,), frozen, or None.
        parameters: of T, at least one, in the type of W0 or, over 16 bits, float32.
        shift: T.
        stochastic: round x + T(x) to 16 bits stochastically; otherwise to the nearest.

    Returns:
        (…, m). It can be differentiated once.
    """
    y: Tensor = _ShiftedLinear.apply(x, weight, bias, shift, stochastic, *parameters)  # type: ignore[no-untyped-call]  # torch's
    return y


def _shifted(x: Tensor, parameters: Sequence[Tensor], shift: Shift, *, stochastic: bool) -> Tensor:
    added = shift(x.to(parameters[0].dtype), parameters)
    if x.dtype in CUT_BITS and stochastic:
        return sum_stochastically(x, added)
    return (x + added).to(x.dtype)


class _ShiftedLinear(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, shift: Shift, stochastic: bool, *parameters: Tensor
    ) -> Tensor:
        kept = keep(x)
        ctx.recompute, ctx.shift, ctx.count = kept.recompute, shift, len(parameters)
        ctx.save_for_backward(weight, *parameters, *kept.tensors)
        return linear(_shifted(x, parameters, shift, stochastic=stochastic), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, *rest = ctx.saved_tensors
        parameters, kept = rest[: ctx.count], rest[ctx.count :]
        wide = parameters[0].dtype
        with full_types(gradient):
            pulled = input_gradient(gradient, weight).to(wide)
            with torch.enable_grad():
                x = ctx.recompute(*kept).detach().to(wide).requires_grad_()
                leaves = [one.detach().requires_grad_() for one in parameters]
                added = ctx.shift(x, leaves)
            d_x, *d_parameters = torch.autograd.grad(added, [x, *leaves], pulled)
            d_input = (pulled + d_x).to(gradient.dtype) if ctx.needs_input_grad[0] else None
        return d_input, None, None, None, None, *d_parameters
