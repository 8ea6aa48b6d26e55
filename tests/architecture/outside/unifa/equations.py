"""UniFA: y = W0(x + λ x) + b with one number λ, 0 before training; its effective weight is (1 + λ) W0."""

from torch import Tensor


def shift(x: Tensor, lam: Tensor) -> Tensor:
    """T(x) = λ x, (..., n), for λ (1,)."""
    return x * lam


def weight_change(weight: Tensor, lam: Tensor) -> Tensor:
    """W0·T = λ W0, (m, n)."""
    return weight * lam.to(weight.dtype)
