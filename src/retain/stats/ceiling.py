"""A proven ceiling of a smooth function on an interval, from few values of it: Chebyshev interpolation with its error.

For functions that can be continued into the complex plane and are known not to exceed some size there, as the
probability of a set of outcomes is, a polynomial in the rates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

NODES = 32
"""Values of the function on each stretch, at the Chebyshev nodes."""

POINTS = 2048
"""Points at which the interpolating polynomial is looked at: its largest value is known to .03 % of its variation."""

PRECISION = 1e-6
"""Largest error of interpolation allowed; it is added to the ceiling."""

WIDTHS = np.array([1.3, 1.6, 2.0, 2.5, 3.2, 4.0, 6.0, 10.0, 20.0])
"""rho of the ellipses that are tried around a stretch; the one that proves most counts."""

CORNERS = 33
"""Vertices in the upper half plane of the polygon drawn around each ellipse."""

MOST_STRETCHES = 4096
"""Stretches beyond which nothing is halved any more; the ceiling stays proven, only not so low."""


def _angles(number: int) -> Floats:
    return (2 * np.arange(number) + 1) * np.pi / (2 * number)


_X = np.cos(_angles(NODES))
_DEGREES = np.arange(NODES)
_COEFFICIENTS = np.cos(np.outer(_DEGREES, _angles(NODES))) * np.where(_DEGREES, 2.0, 1.0)[:, None] / NODES
_AT_POINTS: Floats = np.cos(np.outer(_angles(POINTS), _DEGREES)) @ _COEFFICIENTS
"""(POINTS, NODES): the values of the interpolating polynomial at the points from those at the nodes."""

_BETWEEN = 1 / np.cos((NODES - 1) * np.pi / (2 * POINTS))


def ceiling(
    values: Callable[[Floats], Floats], log_size: Callable[[Complexes], Floats], low: float, high: float
) -> float:
    """A number that the function nowhere exceeds on [low, high], above its largest value by little.

    On each stretch, with half-width h, the function is replaced by the polynomial of degree m = `NODES` − 1 through its
    values at the Chebyshev nodes. If it is at most M in size within the ellipse around the stretch whose semi-axes are
    h(ρ ± 1/ρ)/2, the two differ by at most 4Mρ^{−m}/(ρ − 1) (Trefethen, Approximation Theory and Approximation
    Practice, 2013, theorem 8.2). The polynomial, less the middle of its range, is at most 1/cos(mπ/2N) times as large
    anywhere as at N = `POINTS` Chebyshev points (Ehlich and Zeller, Math. Z. 86, 1964, p. 41). Stretches are halved,
    before any value is asked for, until the first error is at most `PRECISION`. Both errors are added.

    Args:
        values: the function, of points (k,).
        log_size: the logarithm of a bound of its size at complex points, of any shape. It must be a rising function of
            a convex one, so that within a polygon it is largest at a vertex, and the same at conjugate points.
        low: where the interval begins.
        high: where it ends, ≥ low.

    Returns:
        The ceiling. Errors of the values themselves are not in it.
    """
    if high <= low:
        return float(values(np.array([low]))[0])
    centres, halves, errors = _stretches(log_size, low, high)
    found = values((centres[:, None] + halves[:, None] * _X).ravel()).reshape(len(centres), NODES) @ _AT_POINTS.T
    largest, smallest = found.max(axis=1), found.min(axis=1)
    tops = (largest + smallest) / 2 + (largest - smallest) / 2 * _BETWEEN + errors
    return float(tops.max())


def _stretches(log_size: Callable[[Complexes], Floats], low: float, high: float) -> tuple[Floats, Floats, Floats]:
    """Centres, half-widths and errors of interpolation of the stretches into which [low, high] is cut."""
    done: list[Floats] = []
    open_ = np.array([[(low + high) / 2, (high - low) / 2]])
    count = 1
    while len(open_):
        errors = _interpolation_error(log_size, open_[:, 0], open_[:, 1])
        fine = (errors <= PRECISION) | (count >= MOST_STRETCHES)
        done.append(np.column_stack([open_, errors])[fine])
        halved = open_[~fine] * [1, 0.5]
        open_ = np.concatenate([halved - halved[:, 1:] * [1, 0], halved + halved[:, 1:] * [1, 0]])
        count += len(halved)
    found = np.concatenate(done)
    return found[:, 0], found[:, 1], found[:, 2]


def _interpolation_error(log_size: Callable[[Complexes], Floats], centres: Floats, halves: Floats) -> Floats:
    """The least 4Mρ^{−m}/(ρ − 1) over `WIDTHS`, M at the vertices of a polygon around each ellipse."""
    angles = np.linspace(0, np.pi, CORNERS)
    ellipses = (WIDTHS[:, None] * np.exp(1j * angles) + np.exp(-1j * angles) / WIDTHS[:, None]) / 2
    around = ellipses / np.cos(np.pi / (CORNERS - 1) / 2)
    at = centres[:, None, None] + halves[:, None, None] * around
    logs = log_size(at).max(axis=2) + np.log(4 / (WIDTHS - 1)) - (NODES - 1) * np.log(WIDTHS)
    best: Floats = np.exp(np.minimum(logs.min(axis=1), 700.0))
    return best
