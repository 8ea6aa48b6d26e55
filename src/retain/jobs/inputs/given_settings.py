"""Settings of the Python functions: the fields of a recipe that say how is measured, in its units and bounds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field, ValidationError, create_model

from retain.errors import InputError
from retain.evaluate.suites.suite import Settings
from retain.jobs.inputs.read import settings_of
from retain.recipe import MeasureRecipe
from retain.recipe.problem_words import problems_in_words
from retain.recipe.verdict_options import PlainOptions

RENAMED = {"batch_size": "evaluation_batch_size"}
"""Names that are short where nothing is trained, and those of a recipe."""

_RECIPE = {
    name: (field.annotation, field)
    for name, field in MeasureRecipe.model_fields.items()
    if name in Settings.__dataclass_fields__ or name in RENAMED.values()
}
_ONLY_HERE = {
    "task_tokens": (int, Field(default=1024, gt=0)),
    "window": (int, Field(default=256, gt=1)),
    "aa_items": (int, Field(default=8, ge=0)),
    "seed": (int, Field(default=0, ge=0)),
}
_Fields: Any = create_model("_Fields", __base__=PlainOptions, **_RECIPE, **_ONLY_HERE)  # type: ignore[call-overload]


def given_settings(fields: Mapping[str, Any]) -> Settings:
    """The settings with the fields that are given: margins in points of 100, as recipes and flags have them.

    Args:
        fields: by the names of a recipe, or of what only Python sets (`window`, `task_tokens`, `aa_items`, `seed`).

    Raises:
        InputError: a field is unknown, or its value is of another type or out of bounds.

    Examples:
        >>> given_settings({"margin": 5, "batch_size": 8}).margin
        0.05
    """
    asked = {RENAMED.get(name, name): value for name, value in fields.items()}
    known = {name: value for name, value in asked.items() if name in _Fields.model_fields}
    problems = [_unknown(name) for name in asked if name not in known]
    try:
        values = _Fields(**known).model_dump(exclude_unset=True)
    except ValidationError as error:
        told = problems_in_words(error.errors(include_url=False), MeasureRecipe)
        problems += [_as_given(problem, fields) for problem in told]
    if problems:
        raise InputError(problems)
    measured = settings_of(MeasureRecipe.model_construct(**{n: v for n, v in values.items() if n in _RECIPE}))
    return replace(measured, **{name: value for name, value in values.items() if name in _ONLY_HERE})


def _as_given(problem: str, fields: Mapping[str, Any]) -> str:
    """A problem by the name that the field was given by."""
    for short, long in RENAMED.items():
        if short in fields and problem.startswith(f"{long}:"):
            return short + problem.removeprefix(long)
    return problem


def _unknown(name: str) -> str:
    known = sorted({*_Fields.model_fields, *RENAMED})
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}."
    return f"{name}: is no setting; {hint}"
