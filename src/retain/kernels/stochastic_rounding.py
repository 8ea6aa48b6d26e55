"""Stochastic rounding to 16 bits: up with a probability of the part that is cut off, so small changes act in the mean.

bf16 keeps 8 bits. If x lies on its grid, x(1 + λ) rounded to the nearest is x again wherever |λ| < 0.002: a dead zone.
Rounded stochastically, the mean is right at every λ, and numbers that need no rounding are left alone, bit for bit
(Croci et al., "Stochastic rounding: implementation, error analysis and applications", Royal Society Open Science 9,
2022).

The random bits come from a fixed table, by feature and by a hash of the token's own numbers: the same token is rounded
the same way, whatever stands around it, in the forward pass and where it is recomputed, and tokens differ from each
other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from retain.kernels.blocks import rows_at_once

ROWS = 128
"""Rows of the table of random bits, a power of two."""

SAMPLED = 16
"""Features of a token, evenly spread, that choose its row."""

CUT_BITS = {torch.bfloat16: 16, torch.float16: 13}
"""Bits of a float32's mantissa that a type has no room for."""


@lru_cache(maxsize=32)
def random_bits(features: int, count: int, device: torch.device) -> Tensor:
    """Uniform integers below 2^count, int32 (ROWS, features), the same in every process."""
    generator = torch.Generator().manual_seed(features)
    drawn = torch.randint(0, 1 << count, (ROWS, features), generator=generator, dtype=torch.int32)
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


def round_stochastically(values: Tensor, bits: Tensor, out: Tensor, *, guard: bool | None = None) -> None:
    """Round float32 numbers stochastically into a 16-bit tensor; the numbers given are overwritten.

    Args:
        values: float32 (…, n), contiguous; infinities stay.
        bits: random integers below 2^CUT_BITS, int32, broadcast against values.
        out: bfloat16 or float16 (…, n). Each number is one of the two neighbours there (but among float16's subnormal
            numbers, where it is rounded to the nearest).
        guard: keep NaNs, whose bits may run over; by default not on a CPU, which makes none of those bits.
    """
    broken = values.isnan() if (values.device.type != "cpu" if guard is None else guard) else None
    raw = values.view(torch.int32)
    raw += bits
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
    return _by_blocks(x, lambda values, _: values.mul_(factor), stochastic=False)


def sum_stochastically(x: Tensor, added: Tensor) -> Tensor:
    """Give x + added, rounded to the 16-bit type of x stochastically; where `added` is 0, x bit for bit.

    Args:
        x: (…, n) in bfloat16 or float16.
        added: of the same shape, in float32 or the type of x.
    """
    parts = _with_positions(added)
    return _by_blocks(x, lambda values, piece: values.add_(parts[..., piece, :]))


def _with_positions(x: Tensor) -> Tensor:
    """The tensor with a dimension for the position, also where it is one vector."""
    return x if x.dim() > 1 else x.unsqueeze(0)


def _positions_at_once(tokens: Tensor) -> int:
    """Positions of all rows (…, S, n) of which together a block fits the cache."""
    rows = max(tokens.numel() // max(tokens.shape[-2] * tokens.shape[-1], 1), 1)
    return max(rows_at_once(tokens.shape[-1]) // rows, 1)


def _by_blocks(x: Tensor, change: Callable[[Tensor, slice], object], *, stochastic: bool = True) -> Tensor:
    """Change x in float32 and round it: on a CPU some positions at once, within its cache."""
    table, tokens = random_bits(x.shape[-1], CUT_BITS[x.dtype], x.device), _with_positions(x)
    rows = row_of(tokens) if stochastic else None
    out = torch.empty_like(tokens, memory_format=torch.contiguous_format)
    length = tokens.shape[-2]
    step = _positions_at_once(tokens) if x.device.type == "cpu" else max(length, 1)
    values = bits = torch.empty(0, device=x.device)
    for start in range(0, length, step):
        piece = slice(start, start + step)
        part = tokens[..., piece, :]
        if values.shape != part.shape:  # the same memory for each block but the last: it stays in the cache
            values = torch.empty(part.shape, device=x.device)
            bits = torch.empty(part.shape, dtype=torch.int32, device=x.device)
        change(values.copy_(part), piece)
        if rows is None:
            out[..., piece, :] = values
        else:
            torch.index_select(table, 0, rows[..., piece].reshape(-1), out=bits.view(-1, x.shape[-1]))
            round_stochastically(values, bits, out[..., piece, :])
    return out.view(x.shape)
