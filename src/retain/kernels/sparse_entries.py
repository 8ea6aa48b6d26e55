"""A frozen linear layer of which some entries are trained: y = (W0 + S) x + b, where S holds v at the places I.

    ∂L/∂v = (Σ_tokens g xᵀ)[I],   ∂L/∂x = (W0 + S)ᵀ g,   g = ∂L/∂y

W0 + S is made for the product and dropped, forwards and backwards; kept for the backward pass are v, and x or what it
is recomputed from (`retain.kernels.recompute`). Autograd's own form keeps W0 + S of every layer, a second model in
memory.

Measured on one core (float32, layers of 576 × 1536 and 2048 × 2048, ratios of processor time): making W0 + S is a few
per cent of a training step's products from 256 tokens on, and the sum g xᵀ taken at I alone costs as much as the dense
one at a density of 1 %, and 2 to 4 times as much at 5 %; so training takes the dense products. For a few tokens without
a gradient, as in writing an answer, making it is most of the work: there W0 x + S x takes .2 to .9 of the time at 1 to
32 tokens, and is level at 128.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from retain.kernels.eligibility import full_types
from retain.kernels.recompute import Kept, keep

FEW_TOKENS = 64
"""Up to as many tokens S x is a product of its own."""


class Rows(NamedTuple):
    """The places of S by rows, as compressed sparse rows have them: where each row begins, and the columns, int64."""

    begins: Tensor
    columns: Tensor


def with_entries(weight: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """W0 + S (m, n), in the type of W0, to which v is rounded first; elsewhere its entries are those of W0 to the bit.

    Args:
        weight: W0 (m, n).
        places: I (k,), flat, each once, of any integer type.
        values: v (k,).
    """
    flat = weight.reshape(-1).index_add(0, places.to(torch.int64), values.to(weight.dtype))
    return flat.view(weight.shape)


def reference(x: Tensor, weight: Tensor, bias: Tensor | None, places: Tensor, values: Tensor) -> Tensor:
    """The equation in ordinary operations."""
    return linear(x, with_entries(weight, places, values), bias)


def sparse_linear(x: Tensor, weight: Tensor, bias: Tensor | None, places: Tensor, values: Tensor) -> Tensor:
    """Compute y = (W0 + S) x + b.

    Args:
        x: (…, n), in the type of W0.
        weight: W0 (m, n), frozen.
        bias: b (m,), frozen, or None.
        places: I (k,), flat, each once, of any integer type.
        values: v (k,), in any floating type.

    Returns:
        (…, m), in the type of x. It can be differentiated once.
    """
    if not (torch.is_grad_enabled() and (x.requires_grad or values.requires_grad)):
        return reference(x, weight, bias, places, values)
    y: Tensor = _SparseLinear.apply(x, weight, bias, places, values)  # type: ignore[no-untyped-call]  # torch's
    return y


def added(x: Tensor, weight: Tensor, bias: Tensor | None, rows: Rows, values: Tensor) -> Tensor:
    """W0 x + b + S x, each by itself, without a gradient.

    Args:
        x: (…, n), float32 or float64, in the type of W0.
        weight: W0 (m, n).
        bias: b (m,), or None.
        rows: the places of S.
        values: v (k,), in their order.
    """
    _say_once()
    S = torch.sparse_csr_tensor(rows.begins, rows.columns, values.detach().to(weight.dtype), weight.shape)
    flat = x.reshape(-1, x.shape[-1])
    return linear(flat, weight, bias).add_((S @ flat.T).T).view(*x.shape[:-1], len(weight))


def by_rows(places: Tensor, shape: torch.Size) -> Rows | None:
    """The places of S (m, n) by rows; None where they are not in ascending order."""
    flat = places.to(torch.int64)
    if bool((flat[1:] <= flat[:-1]).any()):
        return None
    m, n = shape
    begins = torch.searchsorted(flat, torch.arange(m + 1, device=flat.device) * n)
    return Rows(begins, flat % n)


@cache
def _say_once() -> None:
    """Take in torch's notice that compressed rows are new to it, which it gives once in a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.zeros(2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), [], (1, 1))


class _SparseLinear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, places: Tensor, values: Tensor) -> Tensor:
        kept = keep(x) if ctx.needs_input_grad[4] else Kept()
        ctx.recompute = kept.recompute
        ctx.save_for_backward(weight, places, values, *kept.tensors)
        return reference(x, weight, bias, places, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, places, values, *kept = ctx.saved_tensors
        g = gradient.reshape(-1, gradient.shape[-1])
        d_x = d_values = None
        with full_types(g):
            if ctx.needs_input_grad[4]:
                dense = g.T @ ctx.recompute(*kept).reshape(-1, weight.shape[1])
                d_values = dense.reshape(-1).index_select(0, places.to(torch.int64)).to(values.dtype)
            if ctx.needs_input_grad[0]:
                d_x = (g @ with_entries(weight, places, values)).view(*gradient.shape[:-1], weight.shape[1])
        return d_x, None, None, None, d_values
