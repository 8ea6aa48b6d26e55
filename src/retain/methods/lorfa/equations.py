"""LoRFA, low-rank feature adaptation: arXiv 2510.19155, version 1 (later versions keep VeFA alone).

A frozen linear layer y = W0 x + b, W0 (m, n), is given the input x + s·T(x) with T(x) = B A x, A (r, n), B (n, r),
s = α/r. Its effective weight is W0·(I + s·B A); the bias is untouched. B = 0 before training.

The functions leave s to the caller, as all methods do.
Where we differ: several adapters are summed, x + Σᵢ sᵢ Bᵢ Aᵢ x, where one after the other would depend on the order.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import linear


def shift(x: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """T(x) = B A x.

    Args:
        x: (..., n).
        A: (r, n).
        B: (n, r).

    Returns:
        (..., n). All arguments share one dtype.
    """
    return linear(linear(x, A), B)


def projected_shift(code: Tensor, B_rows: Tensor, weight: Tensor) -> Tensor:
    """W0·T(x) as (W0 B)(A x): m·n·r operations and m·r a token, where W0·(B A x) takes m·n a token.

    Args:
        code: A x (..., r).
        B_rows: Bᵀ (r, n).
        weight: W0 (m, n), whose dtype the result has; the others are rounded to it once.

    Returns:
        (..., m).
    """
    return linear(code.to(weight.dtype), linear(B_rows.to(weight.dtype), weight).T)


def weight_change(weight: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """W0·T = (W0 B) A.

    Args:
        weight: W0 (m, n).
        A: (r, n).
        B: (n, r).

    Returns:
        (m, n), in the weight's dtype.
    """
    return (weight @ B.to(weight.dtype)) @ A.to(weight.dtype)
