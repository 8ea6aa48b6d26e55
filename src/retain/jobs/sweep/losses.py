"""The losses of a model on the rows that a sweep holds out, and what was gained over the base's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Losses:
    """Losses on the rows held out: nats of each row, its weight, and the share of right answers."""

    nats: Sequence[float]
    weights: Sequence[int]
    accuracy: float | None = None

    @property
    def mean(self) -> float:
        """Nats per token, or per item of a classifier."""
        return math.fsum(self.nats) / sum(self.weights)

    def gains_over(self, base: Losses) -> tuple[float, ...]:
        """The nats gained on each row."""
        return tuple(one - other for one, other in zip(base.nats, self.nats, strict=True))

    def gain_over(self, base: Losses) -> tuple[float, float]:
        """The mean reduction of the loss against the base, and its standard error over rows (of a ratio)."""
        gains = self.gains_over(base)
        gain = math.fsum(gains) / sum(self.weights)
        residuals = (one - gain * weight for one, weight in zip(gains, self.weights, strict=True))
        spread = math.fsum(value * value for value in residuals) * len(gains) / max(1, len(gains) - 1)
        return gain, math.sqrt(spread) / sum(self.weights)
