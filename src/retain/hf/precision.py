"""The one place that chooses how W0(x + T(x)) is computed.

In exact arithmetic base(x + T(x)) and base(x) + W0·T(x) are the same. bf16 keeps 8 bits: where x is bf16, λ ⊙ x is
rounded away when it is added to x wherever |λ| < 0.002, however well λ is known. So where the base computes in 16 bits
the second, residual, form is used, in which W0·T(x) is right to 0.3 % before it is added.

What it cannot avoid, as LoRA cannot, is that the sum is the layer's output and is rounded to 16 bits. Of the exact
effect this leaves, on average over outputs (512 × 512, normal x, λ of standard deviation 1e-3), 51 %, against 14 % for
the first form; at 1e-2 both leave all of it, at 1e-4 5 % and nothing. Accumulating both products in one matrix product
would leave all of it, but it adds up in another order, and then T = 0 is no longer the base bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

_LOW = (torch.bfloat16, torch.float16)


def residual_weight(base: nn.Module, x: Tensor) -> Tensor | None:
    """The weight W0 with which to compute base(x) + W0·T(x), or None where base(x + T(x)) is to be computed.

    None in float32 and float64, where nothing is lost, and where W0 cannot be used as it lies: quantised, sharded or
    offloaded weights, and subclasses of `nn.Linear`, whose forward may be more than a product. There the shift is added
    in the adapter's precision and rounded once to that of x.

    Args:
        base: the layer that is adapted.
        x: its input (..., n).

    Returns:
        W0 as (m, n), or None.
    """
    if type(base) is not nn.Linear and type(base) is not Conv1D:
        return None
    weight: Any = base.weight
    if type(weight) not in (nn.Parameter, Tensor) or weight.device != x.device:
        return None
    device = x.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    if compute not in _LOW:
        return None
    usable: Tensor = weight.T if type(base) is Conv1D else weight
    return usable


def adapter_dtype(base: nn.Module) -> torch.dtype:
    """The precision of an adapter's own parameters: float32, or float64 over a float64 base; never less."""
    weight = getattr(base, "weight", None)
    return torch.float64 if weight is not None and weight.dtype == torch.float64 else torch.float32
