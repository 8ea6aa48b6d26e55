"""The Pareto front: what is not beaten on both counts at once."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices, in order, of the points that no other point beats; more is better on both axes.

    A point is beaten by another that is at least as good on both axes and better on one. Equal points stay together.
    """
    front = []
    order = sorted(range(len(points)), key=lambda index: (-points[index][0], -points[index][1]))
    best_y: float | None = None
    for position, index in enumerate(order):
        x, y = points[index]
        same_as_before = position > 0 and points[order[position - 1]] == (x, y) and order[position - 1] in front
        if best_y is None or y > best_y or same_as_before:
            front.append(index)
            best_y = y
    return sorted(front)
