"""Dual ascent: the weight of the constraint "KL stays below a limit"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from retain.errors import InputError, is_number


@dataclass
class Dual:
    """The weight w of a constraint KL ≤ limit: it rises while the smoothed KL is above the limit, and falls below it.

    Multiplicative dual ascent: w ← clip(w · exp(rate · (k/limit − 1)), low, high), with k the exponential mean of the
    KLs seen. For a Lagrangian task + w · KL its only fixed points are k = limit, and w = low where the limit does not
    bind (or w = high where it cannot be met). Steps of a size relative to w suit weights of unknown magnitude.

    Attributes:
        limit: what KL should stay below, nats.
        weight: w; starts where given.
        rate: how fast w moves: per step, for a KL of twice the limit, by a factor exp(rate).
        smoothing: share of the old mean that a new KL leaves; 0 for none.
        low: smallest w.
        high: largest w.
        smoothed: k; None before the first step.
    """

    limit: float
    weight: float = 1.0
    rate: float = 0.1
    smoothing: float = 0.8
    low: float = 1e-4
    high: float = 1e4
    smoothed: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: some are out of range; all problems are named.
        """
        problems = []
        if not (is_number(self.limit) and self.limit > 0):
            problems.append(f"limit: {self.limit!r} nats; a limit must be above 0.")
        if not self.rate > 0:
            problems.append(f"rate: {self.rate}; it must be above 0, 0.1 for instance.")
        if not 0 <= self.smoothing < 1:
            problems.append(f"smoothing: {self.smoothing}; it must be at least 0 and below 1.")
        if not 0 < self.low <= self.weight <= self.high:
            problems.append(f"weight: {self.weight}; it must lie between low={self.low} and high={self.high}, above 0.")
        if problems:
            raise InputError(problems)

    def update(self, kl: float) -> float:
        """Take in one measured KL and return the new weight.

        Args:
            kl: nats, finite.

        Returns:
            w after the step.
        """
        old = kl if self.smoothed is None else self.smoothed
        self.smoothed = self.smoothing * old + (1 - self.smoothing) * kl
        exponent = self.rate * (self.smoothed / self.limit - 1)
        self.weight = min(max(self.weight * math.exp(min(exponent, 100.0)), self.low), self.high)
        return self.weight

    def state(self) -> dict[str, Any]:
        """The values that `restore` needs, as JSON."""
        return {"weight": self.weight, "smoothed": self.smoothed}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the `state()` of another; its weight is clipped to low and high."""
        self.weight = min(max(float(state["weight"]), self.low), self.high)
        self.smoothed = None if state["smoothed"] is None else float(state["smoothed"])
