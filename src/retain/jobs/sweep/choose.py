"""The choice of a candidate to start with, as a pure function of what a sweep measured."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from retain.records.sweep_record import Candidate, Point, Recommendation

DEFAULT_LIMIT = 0.1
"""Nats of KL(base ‖ tuned) on text to keep that a candidate may have where the recipe's budget has no limit of kl."""

LORA = "lora"


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


def beside(candidates: Sequence[Candidate], chosen: Recommendation, limit: float) -> Recommendation | None:
    """What the choice is told beside: plain LoRA at its best within the limit; where that was chosen, the next.

    None where nothing else stayed within the limit, or the choice itself did not.
    """
    best = candidates[chosen.candidate]
    others = [place for place, one in enumerate(candidates) if _combination(one) != _combination(best)]
    lora = [one for one in candidates if one.method == LORA and not one.replay]
    plain = min(lora, key=lambda one: len(one.own), default=best)
    pool = [place for place in others if _combination(candidates[place]) == _combination(plain)] or others
    found = choose([candidates[place] for place in pool], limit)
    if found is None or not found.within or not chosen.within:
        return None
    return found.model_copy(update={"candidate": pool[found.candidate]})


def _combination(candidate: Candidate) -> tuple[object, ...]:
    """All of a candidate but its learning rate."""
    fields = json.dumps([candidate.fields, candidate.own], sort_keys=True, default=str)
    return candidate.method, fields, candidate.rank, candidate.replay


def _moved(one: tuple[int, Point]) -> tuple[float, float, int]:
    return one[1].kl, -one[1].gain, one[0]
