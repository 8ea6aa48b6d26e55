"""The fields of `retain measure`."""

import pytest

from retain.errors import InputError
from retain.recipe import MeasureRecipe, load_recipe


def test_tasks_are_parted_by_commas_and_by_blanks():
    told = {"model": "m", "tuned": "t", "output": "o"}
    for given in ("a,b,c", ["a,b", "c"], ["a", " b, c"]):
        assert load_recipe(MeasureRecipe, None, {**told, "lm_eval": given}).lm_eval == ("a", "b", "c")


def test_tasks_of_the_harness_alone_are_something_to_measure():
    values = {"model": "m", "tuned": "t", "output": "o"}
    assert load_recipe(MeasureRecipe, None, {**values, "lm_eval": "a"}).lm_eval == ("a",)
    with pytest.raises(InputError, match="nothing to measure"):
        load_recipe(MeasureRecipe, None, values)
