"""Picking an option."""

from __future__ import annotations

import math

import pytest

from retain.errors import RetainError
from retain.evaluate.scores.option_choice import pick


def test_each_normalisation_by_hand():
    # "Rome": −6 over 1 token and 4 letters; "Paris": −7 over 2 tokens and 5; "Ouagadougou": −12 over 6 and 11.
    scores, tokens, choices = [-6.0, -7.0, -12.0], [1, 2, 6], ["Rome", "Paris", "Ouagadougou"]
    assert pick(scores) == 0
    assert pick(scores, "token", tokens=tokens) == 2  # −6, −3.5, −2
    assert pick(scores, "character", choices=choices) == 2  # −1.5, −1.4, −1.09
    assert pick([-6.0, -7.0, -20.0], "character", choices=choices) == 1  # −1.5, −1.4, −1.8


def test_the_first_of_equals_is_picked_and_the_right_one_last():
    assert pick([-2.0, -1.0, -1.0]) == 1
    assert [pick([-2.0, -1.0, -1.0], right=right) for right in range(3)] == [1, 2, 1]
    assert pick([-1.0, -2.0], right=0) == 0
    assert pick([-2.0, -4.0], "token", tokens=[1, 2]) == 0


@pytest.mark.parametrize("broken", [math.nan, -math.inf, math.inf])
def test_an_output_that_is_not_finite_is_an_error(broken):
    with pytest.raises(RetainError, match="option 1"):
        pick([-1.0, broken, -2.0])


def test_lengths_are_asked_for():
    with pytest.raises(ValueError, match="token"):
        pick([-1.0, -2.0], "token")
    with pytest.raises(ValueError, match="character"):
        pick([-1.0, -2.0], "character", choices=["a", ""])
    with pytest.raises(ValueError, match="at least one"):
        pick([])
