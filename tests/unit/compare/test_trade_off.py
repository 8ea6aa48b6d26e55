"""Trade-offs: by hand, and the area by counting cells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.compare.trade_off import hypervolume, retention_at_matched_task, safe_band, task_at_matched_retention
from retain.errors import InputError

CURVE = [(0.2, 1.0), (0.5, 0.9), (0.7, 0.5), (0.6, 0.2)]
whole = st.tuples(st.integers(-3, 8), st.integers(-3, 8))


def test_area_by_hand():
    assert hypervolume([(2, 3), (4, 1)], (0, 0)) == 2 * 3 + 2 * 1
    assert hypervolume([(2, 3), (2, 3), (1, 1)], (0, 0)) == 6
    assert hypervolume([(2, 0), (-1, 9)], (0, 0)) == 0
    assert hypervolume([], (0, 0)) == 0


@given(st.lists(whole, max_size=8), st.tuples(st.integers(-3, 2), st.integers(-3, 2)))
def test_area_by_counting_cells(points, held_out_text):
    cells = itertools.product(range(held_out_text[0], 9), range(held_out_text[1], 9))
    covered = sum(any(x + 1 <= px and y + 1 <= py for px, py in points) for x, y in cells)
    assert hypervolume(points, held_out_text) == covered


@given(st.lists(whole, max_size=8), whole)
def test_one_point_more_never_takes_area_away(points, more):
    assert hypervolume([*points, more], (-1, -1)) >= hypervolume(points, (-1, -1))


def test_retention_is_interpolated_along_the_curve():
    assert retention_at_matched_task(CURVE, 0.35) == pytest.approx(0.95)
    assert retention_at_matched_task(CURVE, 0.5) == 0.9
    # .65 is met on the way up at .6 and on the way back at .35: the better one counts.
    assert retention_at_matched_task(CURVE, 0.65) == pytest.approx(0.6)


def test_there_is_no_extrapolation():
    assert retention_at_matched_task(CURVE, 0.1) is None
    assert retention_at_matched_task(CURVE, 0.71) is None
    assert retention_at_matched_task([], 0.5) is None
    assert retention_at_matched_task([(0.5, 0.8)], 0.5) == 0.8


def test_a_standstill_of_the_task_has_its_best_end():
    assert retention_at_matched_task([(0.5, 0.7), (0.5, 0.9), (0.6, 0.1)], 0.5) == 0.9


def test_task_at_equal_retention():
    assert task_at_matched_retention(CURVE, 0.95) == pytest.approx(0.35)
    assert task_at_matched_retention(CURVE, 0.35) == pytest.approx(0.65)
    assert task_at_matched_retention(CURVE, 0.1) is None


def test_against_numpy_on_a_rising_curve():
    x, y = np.array([0.1, 0.3, 0.4, 0.9]), np.array([1.0, 0.8, 0.85, 0.2])
    for level in np.linspace(0.1, 0.9, 17):
        found = retention_at_matched_task(list(zip(x, y, strict=True)), level)
        assert found == pytest.approx(np.interp(level, x, y))


def test_the_safe_band_by_hand():
    rates, changes = [1e-4, 3e-4, 1e-3, 3e-3], [0.01, -0.02, -0.021, -0.5]
    assert safe_band(rates, changes) == 0.5
    assert safe_band(rates, changes, margin=0.03) == 0.75
    assert safe_band([1e-3], [0.5 - 0.52]) == 1  # −.020000000000000018
    # Two seeds at one rate count once, by their mean: −.02 and −.04.
    assert safe_band([1e-3, 1e-3, 1e-2, 1e-2], [0.0, -0.04, -0.03, -0.05]) == 0.5


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(InputError, match="sweep the rate"):
        safe_band([], [])
    with pytest.raises(ValueError, match="finite"):
        safe_band([1e-3], [float("nan")])
    with pytest.raises(ValueError, match="finite"):
        hypervolume([(1, float("inf"))], (0, 0))
    with pytest.raises(ValueError, match="argument 2 is longer"):
        safe_band([1e-3], [0.1, 0.2])
