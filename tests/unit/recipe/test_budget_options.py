"""The forgetting budget: what limits and coefficients can be meant."""

import pytest
from pydantic import ValidationError

from retain.errors import InputError
from retain.recipe import Budget, Recipe
from retain.recipe.budget_options import alpha_problems, parsed_limits, range_problems

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (["capitals:2", "kl:0.1"], {"capitals": 2.0, "kl": 0.1}),
        ("capitals:2 kl:0.1", {"capitals": 2.0, "kl": 0.1}),
        (["my: suite:3"], {"my: suite": 3.0}),
        ({"kl": "0.1"}, {"kl": "0.1"}),
        (None, None),
    ],
)
def test_limits_are_read_from_the_last_colon(given, limits):
    assert parsed_limits(given) == limits


@pytest.mark.parametrize(
    ("given", "reason"), [(["capitals"], "NAME:NUMBER"), ([":3"], "NAME:NUMBER"), (["a:1", "a:2"], "there twice")]
)
def test_limits_that_cannot_be_read_are_refused(given, reason):
    with pytest.raises(ValueError, match=reason):
        parsed_limits(given)


@pytest.mark.parametrize(
    ("limits", "count"),
    [({"a": 0, "kl": 0}, 0), ({"a": 100, "kl": 300}, 0), ({"a": 101}, 1), ({"a": -1, "kl": -0.1}, 2)],
)
def test_points_end_at_a_hundred_and_nats_do_not(limits, count):
    assert len(range_problems(limits)) == count


@pytest.mark.parametrize(
    ("alphas", "possible"),
    [
        ((0.2, 1), True),
        ((1,), True),
        ((), False),
        ((0, 1), False),
        ((0.5, 0.2), False),
        ((0.5, 0.5), False),
        ((1.1,), False),
    ],
)
def test_coefficients_rise_from_above_0_to_1(alphas, possible):
    assert alpha_problems(alphas) is not possible


def test_a_budget_in_python_takes_limits_by_name_or_as_a_mapping():
    assert Budget(capitals=2, kl=0.1).limits == {"capitals": 2.0, "kl": 0.1}
    assert Budget({"my suite": 2}, 0.9).confidence == 0.9
    for wrong in ({}, {"a": 200}, {"a": float("nan")}):
        with pytest.raises(InputError, match="budget: "):
            Budget(wrong)


def test_a_recipe_reads_limits_and_one_coefficient_alone():
    recipe = Recipe(**BASIC, budget=["kl:0.1"], alphas=0.5)
    assert (recipe.budget, recipe.alphas) == ({"kl": 0.1}, (0.5,))
    with pytest.raises(ValidationError, match="rising order"):
        Recipe(**BASIC, alphas=(1, 0.5))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"control": -5}, "budget: control:-5: give a number of points"),
        ({"control": [1]}, "budget: limits: expected a number"),
        ({}, "budget: name at least one limit"),
        ({"kl": 0.1, "confidence": 3}, "budget: confidence: expected a number below 1"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_in_words(given, told):
    with pytest.raises(InputError, match=told):
        Budget(**given)
