"""The one place that chooses how W0(x + T(x)) is computed.

In exact arithmetic base(x + T(x)) and base(x) + W0·T(x) are the same. bf16 keeps 8 bits: where x is bf16, a shift
smaller than about 0.002·|x| is rounded away when it is added to x, however well T is known. So where the base computes
in 16 bits the second, residual, form is used. What it cannot avoid, as LoRA cannot, is that the layer's *output* is
again rounded to 16 bits.
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
