"""Commands that may hold a key are never written out."""

from retain.evaluate.suites.suite import Settings
from retain.recipe import AdviseRecipe, MeasureRecipe, Recipe, redacted
from retain.recipe.redact import secret_fields, without_secrets


def test_a_judge_is_shown_without_its_arguments_and_told_from_others():
    shown = redacted("/opt/bin/judge --key SECRET")
    assert shown.startswith("judge (sha256 ")
    assert "SECRET" not in shown
    assert shown != redacted("/opt/bin/judge --key OTHER")


def test_an_empty_command_is_redacted_too():
    assert redacted(" ").startswith("nothing (sha256 ")


def test_the_judge_is_the_secret_of_every_recipe_and_of_the_settings():
    assert {secret_fields(holder) for holder in (Recipe, AdviseRecipe, MeasureRecipe, Settings)} == {("judge",)}


def test_only_secret_values_that_are_given_are_redacted():
    assert without_secrets({"model": "m", "judge": None}, Recipe) == {"model": "m", "judge": None}
    assert without_secrets({"model": "m", "judge": "j --key K"}, Recipe) == {
        "model": "m",
        "judge": redacted("j --key K"),
    }
