"""Rounding to 16 bits up or down by the odds of what is cut off, so that small changes act in the mean.

bf16 keeps 8 bits. If x lies on its grid, x(1 + λ) rounded to the nearest is x again wherever |λ| < 0.002: a dead zone.
Rounded up with a probability of the part that is cut off, the mean is right at every λ, and what needs no rounding is
left alone, bit for bit (stochastic rounding: Croci et al., "Stochastic rounding: implementation, error analysis and
applications", Royal Society Open Science 9, 2022).

The odds come from a fixed table, by feature and by a hash of the token's own numbers: the same token gives the same
bits, whatever stands around it, in the forward pass and where it is computed again, and tokens differ from each other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

ROWS = 128
"""Rows of the table of odds, a power of two."""

BLOCK = 64
"""Positions that are rounded at once on a CPU, within its cache."""

SAMPLED = 16
"""Features of a token, evenly spread, that choose its row."""

CUT_BITS = {torch.bfloat16: 16, torch.float16: 13}
"""Bits of a float32's mantissa that a type has no room for."""


@lru_cache(maxsize=32)
def odds(features: int, bits: int, device: torch.device) -> Tensor:
    """Uniform integers below 2^bits, int32 (ROWS, features), the same ever after."""
    generator = torch.Generator().manual_seed(features)
    drawn = torch.randint(0, 1 << bits, (ROWS, features), generator=generator, dtype=torch.int32)
    return drawn.to(device)


@lru_cache(maxsize=8)
def _multipliers(count: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(-(2**31), 2**31, (count,), generator=generator).bitwise_or(1).to(torch.int32).to(device)


def row_of(x: Tensor) -> Tensor:
    """The row of the table for each token, int64 (…): a multiply-shift hash of the bits of some of its features.

    Args:
        x: (…, n), 16 bits, n ≥ 1.
    """
    step = max(x.shape[-1] // SAMPLED, 1)
    bits = x[..., ::step].view(torch.int16).to(torch.int32)
    mixed = (bits * _multipliers(bits.shape[-1], x.device)).sum(-1, dtype=torch.int32)
    return (mixed >> (32 - ROWS.bit_length())).bitwise_and(ROWS - 1).long()


def round_stochastically(values: Tensor, odds_there: Tensor, out: Tensor, *, guard: bool | None = None) -> None:
    """Write float32 numbers to a 16-bit tensor, up or down stochastically; the numbers given are overwritten.

    Args:
        values: float32 (…, n), contiguous; infinities stay.
        odds_there: integers below 2^bits, int32, broadcast against values.
        out: bfloat16 or float16 (…, n). Each number is one of the two neighbours there (but among float16's subnormal
            numbers, where it is rounded to the nearest).
        guard: look for numbers that are none, whose bits may run over; by default not on a CPU, which makes none of
            those bits.
    """
    broken = values.isnan() if (values.device.type != "cpu" if guard is None else guard) else None
    raw = values.view(torch.int32)
    raw += odds_there
    raw &= -(1 << CUT_BITS[out.dtype])
    out.copy_(values)
    if broken is not None:
        out.masked_fill_(broken, float("nan"))


def scaled_stochastically(x: Tensor, factor: Tensor) -> Tensor:
    """Give x ⊙ factor, rounded to the 16-bit type of x stochastically.

    Args:
        x: (…, n) in bfloat16 or float16.
        factor: (n,), or (…, 1, n) where it is not the same for all, in float32.

    Returns:
        The shape and type of x; where factor is 1, x bit for bit.
    """
    return _by_blocks(x, lambda values, _: values.mul_(factor))


def scaled_to_nearest(x: Tensor, factor: Tensor) -> Tensor:
    """Give x ⊙ factor, computed in float32 and rounded once to the nearest, as `scaled_stochastically` otherwise."""
    return _by_blocks(x, lambda values, _: values.mul_(factor), by_odds=False)


def sum_stochastically(x: Tensor, added: Tensor) -> Tensor:
    """Give x + added, rounded to the 16-bit type of x stochastically; where `added` is 0, x bit for bit.

    Args:
        x: (…, n) in bfloat16 or float16.
        added: of the same shape, in float32 or the type of x.
    """
    parts = _with_positions(added)
    return _by_blocks(x, lambda values, piece: values.add_(parts[..., piece, :]))


def _with_positions(x: Tensor) -> Tensor:
    """The same with a dimension for the position, also where there is one vector only."""
    return x if x.dim() > 1 else x.unsqueeze(0)


def _by_blocks(x: Tensor, change: Callable[[Tensor, slice], object], *, by_odds: bool = True) -> Tensor:
    """Take x to float32, changed in place and rounded: on a CPU some positions at once, within its cache."""
    table, whole = odds(x.shape[-1], CUT_BITS[x.dtype], x.device), _with_positions(x)
    rows = row_of(whole) if by_odds else None
    out = torch.empty_like(whole, memory_format=torch.contiguous_format)
    length = whole.shape[-2]
    step = BLOCK if x.device.type == "cpu" else max(length, 1)
    values = there = torch.empty(0, device=x.device)
    for start in range(0, length, step):
        piece = slice(start, start + step)
        part = whole[..., piece, :]
        if values.shape != part.shape:  # the same memory for each block but the last: it stays in the cache
            values = torch.empty(part.shape, device=x.device)
            there = torch.empty(part.shape, dtype=torch.int32, device=x.device)
        change(values.copy_(part), piece)
        if rows is None:
            out[..., piece, :] = values
        else:
            torch.index_select(table, 0, rows[..., piece].reshape(-1), out=there.view(-1, x.shape[-1]))
            round_stochastically(values, there, out[..., piece, :])
    return out.view(x.shape)
