"""Rounding to 16 bits up or down by the odds of what is cut off, so that small changes act in the mean.

bf16 keeps 8 bits. If x lies on its grid, x(1 + λ) rounded to the nearest is x again wherever |λ| < 0.002: a dead zone.
Rounded up with a probability of the part that is cut off, the mean is right at every λ, and what needs no rounding is
left alone, bit for bit (stochastic rounding: Croci et al., "Stochastic rounding: implementation, error analysis and
applications", Royal Society Open Science 9, 2022).

The odds come from a fixed table, by feature and by position in the sequence, so the same input gives the same bits,
whatever else is in the batch, in the forward pass and where it is computed again.
"""

from __future__ import annotations

from collections.abc import Callable
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


def round_by_odds(values: Tensor, odds_there: Tensor, out: Tensor) -> None:
    """Write float32 numbers to a 16-bit tensor, up or down by odds; the numbers given are overwritten.

    Args:
        values: float32 (…, n), contiguous; infinities stay.
        odds_there: integers below 2^bits, int32, broadcast against values.
        out: bfloat16 or float16 (…, n). Each number is one of the two neighbours there (but among float16's subnormal
            numbers, where it is rounded to the nearest).
    """
    raw = values.view(torch.int32)
    raw += odds_there
    raw &= -(1 << CUT_BITS[out.dtype])
    out.copy_(values)


def scaled_by_odds(x: Tensor, factor: Tensor) -> Tensor:
    """X ⊙ factor, rounded to the 16-bit type of x by odds.

    Args:
        x: (…, S, n) in bfloat16 or float16; S is the position.
        factor: (n,) in float32.

    Returns:
        The shape and type of x; where factor is 1, x bit for bit.
    """
    return _by_blocks(x, lambda values, _: values.mul_(factor))


def sum_by_odds(x: Tensor, added: Tensor) -> Tensor:
    """X + added, rounded to the 16-bit type of x by odds; where `added` is 0, x bit for bit.

    Args:
        x: (…, S, n) in bfloat16 or float16.
        added: of the same shape, in float32.
    """
    parts = _with_positions(added)
    return _by_blocks(x, lambda values, piece: values.add_(parts[..., piece, :]))


def _with_positions(x: Tensor) -> Tensor:
    """The same with a dimension for the position, also where there is one vector only."""
    return x if x.dim() > 1 else x.unsqueeze(0)


def _by_blocks(x: Tensor, change: Callable[[Tensor, slice], object]) -> Tensor:
    """X in float32, changed in place and rounded: on a CPU some positions at once, within its cache."""
    table, whole = odds(x.shape[-1], CUT_BITS[x.dtype], x.device), _with_positions(x)
    out = torch.empty_like(whole, memory_format=torch.contiguous_format)
    length = whole.shape[-2]
    step = ROWS if x.device.type == "cpu" else max(length, 1)
    values = torch.empty((*whole.shape[:-2], min(step, length), whole.shape[-1]), device=x.device)
    for start in range(0, length, step):
        piece = slice(start, min(start + step, length))
        rows = piece.stop - start
        if rows != values.shape[-2]:
            values = values.new_empty((*whole.shape[:-2], rows, whole.shape[-1]))
        change(values.copy_(whole[..., piece, :]), piece)
        there = table[:rows] if rows <= ROWS else table.repeat(-(-rows // ROWS), 1)[:rows]
        round_by_odds(values, there, out[..., piece, :])
    return out.view(x.shape)
