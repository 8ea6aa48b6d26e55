"""Problems of a recipe in plain words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from retain.recipe import Recipe
from retain.recipe.problem_words import LONGEST_FOUND, found_words, problems_in_words, unknown_field

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}


def told(**changes):
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({**BASIC, **changes})
    return problems_in_words(caught.value.errors(), Recipe)


def test_one_sentence_a_field_though_it_may_be_several_things():
    assert told(seeds="many") == ["seeds: expected a whole number, or expected a list (found 'many')."]
    assert told(kl_weight=[1])[0].startswith("kl_weight: expected a number")


def test_kinds_bounds_and_choices():
    assert told(model=3) == ["model: expected text (found 3)."]
    assert told(drift="perhaps") == ["drift: expected true or false (found 'perhaps')."]
    assert told(keep_score="best") == ["keep_score: expected 'total', 'token' or 'character' (found 'best')."]
    assert told(beta=2) == ["beta: expected a number of 1 or less (found 2)."]


def test_a_name_with_a_slip_gets_the_nearest():
    assert unknown_field("lerning-rate", Recipe).endswith("did you mean learning_rate or learning_rates?")


def test_values_are_shown_short_and_in_yamls_words():
    assert list(map(found_words, (None, True, "a"))) == ["nothing", "true", "'a'"]
    assert len(found_words("x" * 500)) == LONGEST_FOUND
