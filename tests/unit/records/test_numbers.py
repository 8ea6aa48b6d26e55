"""Figures are written as the house writes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.records import numbers
from retain.records.numbers import NATS, POINTS


def test_scores_and_changes():
    assert numbers.plain(0.726, POINTS) == "72.6"
    assert numbers.plain(5.3804, NATS) == "5.380"
    assert numbers.plain(-0.1, POINTS) == "−10.0"
    assert numbers.change(0.032, (-0.001, 0.064), POINTS) == "+3.2 [−0.1, +6.4]"
    assert numbers.change(-2.3, None, NATS) == "−2.300"
    assert numbers.level(0.175, (0.16, 0.19), NATS) == "0.175 [0.160, 0.190]"
    assert numbers.percent(0.971, (0.93, 1.012)) == "97.1% [93.0, 101.2]"


def test_the_sign_survives_rounding():
    assert numbers.signed(0.0001, POINTS) == "+0.0"
    assert numbers.signed(-0.0001, POINTS) == "−0.0"
    assert numbers.signed(0.0, POINTS) == "0.0"


@given(st.floats(min_value=-1e6, max_value=1e6))
def test_a_signed_figure_tells_its_sign(value):
    written = numbers.signed(value, NATS)
    assert written[0] == ("+" if value > 0 else "−" if value < 0 else "0")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, "1.0"),
        (0.61, "0.61"),
        (0.0995, "0.10"),
        (0.0012, "0.0012"),
        (0.00012, "0.00012"),
        (1.2e-7, "1.2e−7"),
        (0.0, "0"),
    ],
)
def test_p_values_have_two_digits(value, written):
    assert numbers.p_value(value) == written


@given(st.floats(min_value=1e-4, max_value=0.99))
def test_a_written_p_value_is_near_the_true_one(value):
    assert math.isclose(float(numbers.p_value(value)), value, rel_tol=0.06)


@pytest.mark.parametrize(
    ("value", "written"), [(5e-4, "5e-4"), (0.01, "1e-2"), (2.5e-3, "2.5e-3"), (1.0, "1e0"), (0.0, "0"), (None, "—")]
)
def test_learning_rates(value, written):
    assert numbers.learning_rate(value) == written


@given(st.floats(min_value=1e-7, max_value=10))
def test_a_learning_rate_can_be_typed_back(value):
    assert math.isclose(float(numbers.learning_rate(value)), value, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (149_760, "0.15 M"),
        (2_442_240, "2.44 M"),
        (134_515_008, "134.5 M"),
        (4_600, "4.6 k"),
        (1_235_814_400, "1.24 B"),
    ],
)
def test_parameters(value, written):
    assert numbers.parameters(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(0, "—"), (2.43, "2.4 s"), (95.2, "95 s"), (720, "12 min"), (8280, "2.3 h")]
)
def test_seconds(value, written):
    assert numbers.seconds(value) == written


def test_what_is_missing_is_a_dash():
    assert numbers.plain(None, POINTS) == numbers.signed(None, NATS) == numbers.percent(None) == numbers.MISSING
    assert numbers.p_value(None) == numbers.three_digits(None) == numbers.MISSING
    assert numbers.bytes_size(0) == "0 B"
    assert numbers.bytes_size(599_040) == "599.0 kB"
