"""Every field says what it decides and where its flag stands; queries read that."""

from dataclasses import dataclass
from typing import Annotated, get_args

import pytest
from pydantic import BaseModel

from retain.evaluate.suites.suite import Settings
from retain.recipe import RECIPES, Recipe
from retain.recipe.marks import (
    COMMON,
    TOPICS,
    Decides,
    Flag,
    Part,
    decisions,
    fields_where,
    flag_name,
    flags,
    flags_where,
)

SETTINGS_PARTS = {"answers", "predictions", "scores"}
RECIPE_PARTS = set(get_args(Part)) - SETTINGS_PARTS


class Marked(BaseModel):
    steps: Annotated[int, Decides("training", recorded=True), Flag(COMMON)] = 1
    look: Annotated[str, Decides("measuring"), Flag("measurement", name="--see")] = ""


class Forgotten(Marked):
    rest: Annotated[int, Flag(COMMON)] = 0
    more: int = 0


@dataclass
class Put:
    size: Annotated[int, Decides("scores")] = 1
    forgotten: int = 2


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_field_of_a_recipe_is_unmarked(recipe):
    assert list(decisions(recipe)) == list(flags(recipe)) == list(recipe.model_fields)
    assert {decides.part for decides in decisions(recipe).values()} <= RECIPE_PARTS
    assert {flag.topic for flag in flags(recipe).values()} <= set(TOPICS)


def test_no_setting_is_unmarked():
    assert list(decisions(Settings)) == list(Settings.__dataclass_fields__)
    assert {decides.part for decides in decisions(Settings).values()} == SETTINGS_PARTS


def test_an_unmarked_field_is_refused_by_name():
    with pytest.raises(TypeError, match="Forgotten: no Decides at rest, more"):
        decisions(Forgotten)
    with pytest.raises(TypeError, match="Forgotten: no Flag at more"):
        flags(Forgotten)
    with pytest.raises(TypeError, match="Put: no Decides at forgotten"):
        decisions(Put)


@pytest.mark.parametrize("recipe", RECIPES)
def test_conditions_and_replacements_name_what_there_is(recipe):
    for decides in decisions(recipe).values():
        assert not decides.when or hasattr(recipe, decides.when) or decides.when in recipe.model_fields
    for flag in flags(recipe).values():
        assert not flag.in_comparison or flag.in_comparison in recipe.model_fields


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_two_fields_have_one_flag(recipe):
    names = [flag_name(recipe, name) for name in recipe.model_fields]
    assert len(set(names)) == len(names)


def test_queries_keep_the_order_of_the_fields():
    assert fields_where(Marked, lambda decides: True) == ("steps", "look")
    assert fields_where(Marked, lambda decides: decides.recorded) == ("steps",)
    assert flags_where(Marked, lambda flag: flag.topic == "measurement") == ("look",)


def test_a_flag_is_called_as_its_field_unless_it_is_named():
    assert flag_name(Marked, "look") == "--see"
    assert flag_name(Recipe, "max_steps") == "--max-steps"
    assert flag_name(Recipe, "from_run") == "--from"
    assert flag_name(Recipe, "no_field") == "--no-field"


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_scaled_run_inherits_also_goes_on(recipe):
    """Whatever a second task takes from the run it goes on from, `retain scale RUN` takes too."""
    inherited = [decides.inherited_by for decides in decisions(recipe).values()]
    assert set(inherited) <= {(), ("scale",), ("from", "scale")}
