"""Fields that every verb shares."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from retain.jobs.inputs.prepare import settings_of
from retain.recipe import MeasurementOptions, MeasureRecipe
from retain.recipe.marks import fields_where
from retain.recipe.measurement_options import split_by_commas

BASIC = {"model": "m", "test": "e", "output": "o"}

CHANGED = {"keep_format": "chat", "keep_score": "token", "judge": "j", "store_answers": True, "drift": False}
CHANGED["max_new_tokens"] = 9


def test_one_source_is_a_list_of_one():
    recipe = MeasurementOptions(**{**BASIC, "keep": "k", "held_out_text": "t"})
    assert (recipe.keep, recipe.held_out_text) == (("k",), ("t",))


def test_places_in_the_home_folder_are_found():
    recipe = MeasureRecipe(model="~/m", tuned="~/t", output="~/o", test="e")
    assert (recipe.model, recipe.tuned, recipe.output) == tuple(str(Path.home() / name) for name in "mto")


@pytest.mark.parametrize("values", [{"test": None}, {"generate": 1}, {"margin": 0}, {"unknown": 1}])
def test_what_cannot_be_measured_is_refused(values):
    with pytest.raises(ValidationError):
        MeasurementOptions(**{**BASIC, **values})


@pytest.mark.parametrize(
    ("given", "names"), [("a, b", ("a", "b")), (["a,b", "c"], ("a", "b", "c")), (3, 3), ([3], [3])]
)
def test_names_are_parted_by_commas(given, names):
    assert split_by_commas(given) == names


@pytest.mark.parametrize("field", fields_where(MeasurementOptions, lambda decides: decides.part == "measuring"))
def test_every_field_that_decides_the_measuring_reaches_the_settings(field):
    """One that is forgotten in `settings_of` would be without effect, and nobody would notice."""
    default = MeasurementOptions.model_fields[field].default
    changed = MeasurementOptions(**BASIC, **{field: CHANGED.get(field, 2 * default if field not in CHANGED else None)})
    assert settings_of(changed) != settings_of(MeasurementOptions(**BASIC))
