"""The choice of a candidate to start with, as a pure function of what a sweep measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from retain.records.sweep_record import Candidate, Point, Recommendation

DEFAULT_LIMIT = 0.1
"""Nats of KL(base ‖ tuned) on text to keep that a candidate may have where the recipe's budget has no limit of kl."""


def choose(candidates: Sequence[Candidate], limit: float) -> Recommendation | None:
    """The candidate and coefficient with the most gain among those whose measured KL is within a limit.

    Only points that were measured count; nothing is interpolated. Where none is within the limit, the point that moved
    least. Of equal gains the one that moved less, then the one tried first.

    Args:
        candidates: candidates; those that failed, and points that are not finite, are passed over.
        limit: nats.

    Returns:
        The choice; None where nothing was measured.
    """
    points = [
        (place, point)
        for place, candidate in enumerate(candidates)
        for point in candidate.points
        if candidate.failed is None and math.isfinite(point.gain) and math.isfinite(point.kl)
    ]
    within = [one for one in points if one[1].kl <= limit]
    if within:
        place, point = max(within, key=lambda one: (one[1].gain, -one[1].kl, -one[0]))
    elif points:
        place, point = min(points, key=_moved)
    else:
        return None
    return Recommendation(candidate=place, alpha=point.alpha, within=bool(within))


def _moved(one: tuple[int, Point]) -> tuple[float, float, int]:
    return one[1].kl, -one[1].gain, one[0]
