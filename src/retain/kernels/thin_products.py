"""Products of tokens with thin matrices (r rows or columns), in the layouts that BLAS is fast in on a CPU.

A product's time depends on which factor is transposed. One core of an AMD EPYC with MKL, float32, 2,048 tokens, width
1,024, r = 8, in milliseconds:

    codes         x Aᵀ       1.56   (A xᵀ)ᵀ              0.96
    gradient's    g B        2.76   (Bᵀ gᵀ)ᵀ             0.96
    sums          cᵀ g       1.01   with cᵀ contiguous   0.77
    addition      y + c Bᵀ   0.89   with Bᵀ contiguous   0.78

So codes (tokens, r) are kept as the transpose of a contiguous matrix (r, tokens). In 16 bits sums need the codes
themselves contiguous, and without it take several times as long. On other devices the products are written as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retain.kernels.stochastic_rounding import CUT_BITS


def typed(tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor in another's type; torch takes microseconds to find that nothing is to be done."""
    return tensor if tensor.dtype == like.dtype else tensor.to(like.dtype)


def codes(tokens: Tensor, down: Tensor, scale: float = 1.0) -> Tensor:
    """The product s·x Aᵀ.

    Args:
        tokens: x (T, n).
        down: A (r, n), in the type of x.
        scale: s.

    Returns:
        (T, r); on a CPU its transpose is contiguous.
    """
    if tokens.device.type != "cpu":
        return _product(tokens, down.T, scale)
    return _product(down.contiguous(), tokens.T, scale).T


def token_sum(code: Tensor, tokens: Tensor, scale: float = 1.0) -> Tensor:
    """The sum over tokens s·cᵀ g.

    Args:
        code: c (T, r), of `codes`.
        tokens: g (T, n), in the type of c.
        scale: s.

    Returns:
        (r, n).
    """
    if code.device.type == "cpu" and code.dtype in CUT_BITS:
        code = code.contiguous()
    return _product(code.T, tokens, scale)


def add_product_(total: Tensor, code: Tensor, up: Tensor, scale: float = 1.0) -> Tensor:
    """Add s·c Bᵀ to y, in place.

    Args:
        total: y (T, m).
        code: c (T, r), of `codes`.
        up: B (m, r), in the type of c.
        scale: s.

    Returns:
        y.
    """
    return total.addmm_(code, _turned(up), alpha=scale)


def plus_product(tokens: Tensor, code: Tensor, up: Tensor, scale: float = 1.0) -> Tensor:
    """The sum x + s·c Bᵀ, as `add_product_`, in a new tensor."""
    return tokens.addmm(code, _turned(up), alpha=scale)


def _product(one: Tensor, other: Tensor, scale: float) -> Tensor:
    """The product times s, in one operation: nothing is added to it, and what stands there for it is not read."""
    return one @ other if scale == 1.0 else torch.addmm(one.new_empty(()), one, other, beta=0, alpha=scale)


def _turned(up: Tensor) -> Tensor:
    return up.T.contiguous() if up.device.type == "cpu" else up.T
