"""Read a recipe: YAML, changed by flags, with every problem reported at once."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from retain.errors import InputError, sentence
from retain.recipe.budget_options import parsed_limits
from retain.recipe.from_run import with_earlier
from retain.recipe.problem_words import problems_in_words
from retain.records.paths import expanded
from retain.records.reading import read_yaml

SomeRecipe = TypeVar("SomeRecipe", bound=BaseModel)


def load_recipe(recipe: type[SomeRecipe], path: str | None, overrides: dict[str, Any]) -> SomeRecipe:
    """Read a recipe and change it by the flags given; either may be missing.

    A flag replaces the recipe's value; of `training` and `method` only the fields given, unless the method's name
    changes, which drops the old method's fields.

    Args:
        recipe: the class of the recipe.
        path: of a YAML file.
        overrides: values by field, as flags give them.

    Raises:
        InputError: with every problem of the recipe at once.
    """
    found, problems = load_what_can_be(recipe, path, overrides)
    if problems or found is None:
        raise InputError(problems)
    return found


NEW_FOLDER = "a-folder-that-the-recipe-does-not-name-yet"
"""Stands for an output that is missing or wrong, so that all else is looked at too; nothing is written there."""


def load_what_can_be(
    recipe: type[SomeRecipe], path: str | None, overrides: dict[str, Any]
) -> tuple[SomeRecipe | None, list[str]]:
    """Read a recipe as `load_recipe` does, and go on without the fields that are wrong, to find what else is.

    Returns:
        The recipe, with defaults in place of wrong fields, or None where nothing can be made of the others; and the
        problems.

    Raises:
        InputError: the file cannot be read, or `from` not be followed.
    """
    values = _values(recipe, path, overrides)
    try:
        return recipe.model_validate(values), []
    except ValidationError as error:
        problems = problems_in_words(error.errors(), recipe)
        wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
    right = {name: value for name, value in values.items() if name not in wrong}
    try:
        return recipe.model_validate({"output": NEW_FOLDER, **right} if "output" in wrong else right), problems
    except ValidationError:
        return None, problems


def _values(recipe: type[BaseModel], path: str | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """The values of a recipe's fields, of the file and the flags together."""
    values = _read_yaml(path) if path else {}
    rates = values.get("learning_rates")
    if "methods" in overrides and isinstance(rates, dict):  # the recipe's rates of methods that are not compared now
        values["learning_rates"] = {name: rate for name, rate in rates.items() if name in overrides["methods"]}
    for key, value in overrides.items():
        old = values.get(key)
        if key == "method":
            values[key] = _merged_method(old, value)
        elif isinstance(value, dict) and isinstance(old, dict):
            values[key] = {**old, **value}
        else:
            values[key] = value
    if "from" in values:
        values["from_run"] = values.pop("from")
    if values.get("from_run") and "from_run" in recipe.model_fields:
        try:
            values["budget"] = parsed_limits(values.get("budget") or {})
        except ValueError as error:
            raise InputError(sentence(f"budget: {error}")) from error
        if "model" in overrides:
            raise InputError("from: the model is what that run delivered; leave --model out.")
        values = with_earlier(values)
    return values


def _merged_method(old: Any, new: Any) -> Any:
    old = {"name": old} if isinstance(old, str) else old or {}
    new = {"name": new} if isinstance(new, str) else new
    if not isinstance(old, dict) or new.get("name", old.get("name")) != old.get("name"):
        return new
    return {**old, **new}


def _read_yaml(path: str) -> dict[str, Any]:
    place = expanded(path)
    if not place.exists():
        raise InputError(f"{path}: there is no such file or folder; give a recipe (a YAML file).")
    try:
        values = read_yaml(place)
    except InputError as error:
        reason = str(error).removeprefix(f"{place}: ")
        raise InputError(f"{path}: this recipe {reason}") from error
    if not isinstance(values, dict):
        kind = "nothing" if values is None else type(values).__name__
        raise InputError(f"{path}: a recipe is a mapping of fields to values, found {kind}.")
    if odd := [key for key in values if not isinstance(key, str)]:
        raise InputError(f"{path}: the name of a field is text, found {', '.join(map(repr, odd))}.")
    return values
