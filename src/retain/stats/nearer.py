"""Is a third reading of texts nearer to the one or to the other of two? Distances, their direction, an exact test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Readings = Sequence[NDArray[np.float64]]
"""For each text, the log-probability of each of its tokens in nats."""


@dataclass(frozen=True)
class Nearness:
    """Where readings s lie between a and b. Root mean squares over all tokens; units are nats.

    Attributes:
        effect: of a − b.
        to_first: of s − a.
        to_second: of s − b.
        share: w = Σ(s − b)(a − b)/Σ(a − b)²: 1 at a, 0 at b.
        rest: of s − b − w(a − b), in units of the effect: how far off the way from b to a.
        spread: standard deviation of a over its tokens, what another model would not share.
        nearer_first: texts whose mean |s − a| is below their mean |s − b|.
        nearer_second: the others, ties left out.
        p_first: exact one-sided binomial test that as many are nearer to a by luck; `p_second` likewise to b.
    """

    effect: float
    to_first: float
    to_second: float
    share: float
    rest: float
    spread: float
    nearer_first: int
    nearer_second: int
    p_first: float
    p_second: float


def nearness(served: Readings, first: Readings, second: Readings) -> Nearness:
    """Compare readings of the same texts.

    Texts, not tokens, are what the test counts: if s were as near to a as to b, each text would fall to either side
    with probability ½.

    Args:
        served: s, for each text one array (tokens,).
        first: a, of the same shapes.
        second: b, of the same shapes.
    """
    s, a, b = (np.concatenate([np.asarray(one, dtype=np.float64) for one in each]) for each in (served, first, second))
    way, gone = a - b, s - b
    square = float(way @ way)
    share = float(gone @ way) / square if square else 0.0
    effect = _rms(way)
    rest = _rms(gone - share * way) / effect if effect else float("inf")
    means = [
        (np.abs(one - to_first).mean(), np.abs(one - to_second).mean())
        for one, to_first, to_second in zip(served, first, second, strict=True)
    ]
    nearer_first = sum(bool(one < other) for one, other in means)
    nearer_second = sum(bool(one > other) for one, other in means)
    return Nearness(
        effect, _rms(s - a), _rms(gone), share, rest, float(a.std()), nearer_first, nearer_second,
        more_by_luck(nearer_first, nearer_second), more_by_luck(nearer_second, nearer_first),
    )  # fmt: skip


def more_by_luck(these: int, others: int) -> float:
    """P(X ≥ these) for X ~ Binomial(these + others, ½); 1 where there are none."""
    return float(special.bdtrc(these - 1, these + others, 0.5)) if these else 1.0


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
