"""VeFA, vector feature adaptation: arXiv 2510.19155.

A frozen linear layer y = W0 x + b, W0 (m, n), is given the input x + T(x) with T(x) = λ ⊙ x: one scale λⱼ for
each input feature. Its effective weight is W0·diag(1 + λ); the bias is untouched.

Where we differ: the trained vector is λ itself, not 1 + λ, so that decay, scaling and rounding draw to the identity.
"""

from __future__ import annotations

from torch import Tensor


def shift(x: Tensor, lam: Tensor) -> Tensor:
    """T(x) = λ ⊙ x.

    Args:
        x: (..., n).
        lam: λ (n,).

    Returns:
        (..., n), in the wider dtype of the two.
    """
    return x * lam


def weight_change(weight: Tensor, lam: Tensor) -> Tensor:
    """W0·T = W0·diag(λ).

    Computed as such, not as W0·diag(1 + λ) − W0, which would lose the low digits of λ.

    Args:
        weight: W0 (m, n).
        lam: λ (n,).

    Returns:
        (m, n), in the weight's dtype.
    """
    return weight * lam.to(weight.dtype)
