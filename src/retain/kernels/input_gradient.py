"""The gradient before a frozen matrix, d = W0ᵀ g.

A processor without units for 16-bit numbers multiplies them by a loop that is slow, and slower where the matrix is not
transposed, as here: 2,048 × 1,024 by 1,024 × 1,024 in bf16 took 4.6 s on one core of an AMD EPYC (Zen 3), the forward
pass's product .42 s, and float32's .05 s. There d is computed in float32 and rounded once. The forward pass is left to
torch, so that a layer that has learned nothing is the frozen one bit for bit.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from retain.kernels.blocks import MOST
from retain.kernels.stochastic_rounding import CUT_BITS


def input_gradient(g: Tensor, weight: Tensor) -> Tensor:
    """W0ᵀ g.

    Args:
        g: (…, m).
        weight: W0 (m, n), in the type of g.

    Returns:
        (…, n), in the type of g; a new tensor.
    """
    if g.device.type != "cpu" or g.dtype not in CUT_BITS or _has_units(g.dtype):
        return g @ weight
    flat, wide = g.reshape(-1, g.shape[-1]), weight.float()
    out = torch.empty(len(flat), weight.shape[1], dtype=g.dtype)
    for start in range(0, len(flat), MOST):
        out[start : start + MOST] = flat[start : start + MOST].float() @ wide
    return out.view(*g.shape[:-1], weight.shape[1])


@lru_cache(maxsize=8)
def _has_units(dtype: torch.dtype) -> bool:
    """Tell whether torch's library multiplies numbers of this type by the processor's own units, or does not tell."""
    name = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}[dtype]
    tell = getattr(torch.ops.mkldnn, name, None)
    return tell is None or bool(tell())
