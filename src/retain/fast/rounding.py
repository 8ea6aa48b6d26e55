"""Rounding to 16 bits up or down by the odds of what is cut off, so that small changes act in the mean.

bf16 keeps 8 bits. If x lies on its grid, x(1 + λ) rounded to the nearest is x again wherever |λ| < 0.002: a dead zone.
Rounded up with a probability of the part that is cut off, the mean is right at every λ, and what needs no rounding is
left alone, bit for bit (stochastic rounding: Croci et al., "Stochastic rounding: implementation, error analysis and
applications", Royal Society Open Science 9, 2022).

The odds come from a fixed table, by feature and by position in the sequence, so the same input gives the same bits,
whatever else is in the batch, in the forward pass and where it is computed again.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

ROWS = 64
"""Positions after which the table of odds repeats; on a CPU also those that are rounded at once, within its cache."""

CUT_BITS = {torch.bfloat16: 16, torch.float16: 13}
"""Bits of a float32's mantissa that a type has no room for."""


@lru_cache(maxsize=32)
def odds(features: int, bits: int, device: torch.device) -> Tensor:
    """Uniform integers below 2^bits, int32 (ROWS, features), the same ever after."""
    generator = torch.Generator().manual_seed(features)
    drawn = torch.randint(0, 1 << bits, (ROWS, features), generator=generator, dtype=torch.int32)
    return drawn.to(device)


def round_by_odds(values: Tensor, odds_there: Tensor, bits: int) -> Tensor:
    """Cut `bits` bits off float32 numbers, up or down by odds; the numbers given are overwritten.

    Args:
        values: float32 (…, n); infinities stay.
        odds_there: integers below 2^bits, int32, broadcast against values.
        bits: how many to cut off.

    Returns:
        The same tensor; what it holds is exact in the shorter type (but for that type's subnormal numbers).
    """
    raw = values.view(torch.int32)
    raw += odds_there
    raw &= -(1 << bits)
    return values


def scaled_by_odds(x: Tensor, factor: Tensor) -> Tensor:
    """X ⊙ factor, rounded to the 16-bit type of x by odds.

    Args:
        x: (…, S, n) in bfloat16 or float16; S is the position.
        factor: (n,), or anything that broadcasts against (…, S, n) in its last dimensions but S, float32.

    Returns:
        The shape and type of x; where factor is 1, x bit for bit.
    """
    bits, n = CUT_BITS[x.dtype], x.shape[-1]
    table = odds(n, bits, x.device)
    whole = x if x.dim() > 1 else x.unsqueeze(0)
    length = whole.shape[-2]
    out = torch.empty_like(whole, memory_format=torch.contiguous_format)
    step = ROWS if x.device.type == "cpu" else max(length, 1)
    for start in range(0, length, step):
        piece = slice(start, start + step)
        rows = torch.arange(start, min(start + step, length), device=x.device) % ROWS
        values = whole[..., piece, :].float() * factor
        out[..., piece, :] = round_by_odds(values, table[rows], bits)
    return out.view(x.shape)


def sum_by_odds(x: Tensor, added: Tensor) -> Tensor:
    """X + added, rounded to the 16-bit type of x by odds: (…, S, n); where `added` is 0, x bit for bit."""
    bits, n = CUT_BITS[x.dtype], x.shape[-1]
    rows = torch.arange(x.shape[-2], device=x.device) % ROWS
    total = round_by_odds(x.float() + added.float(), odds(n, bits, x.device)[rows], bits)
    return total.to(x.dtype)
