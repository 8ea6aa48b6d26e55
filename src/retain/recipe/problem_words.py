"""The problems of a recipe in plain words: what was expected, what was found, what to try."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from retain.errors import sentence
from retain.recipe.marks import flag_name

_EXPECTED = {
    "string_type": "expected text",
    "string_sub_type": "expected text",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a whole number of a usual size",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "dict_type": "expected fields with values",
    "mapping_type": "expected fields with values",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "greater_than": "expected a number above {gt:g}",
    "greater_than_equal": "expected a number of {ge:g} or more",
    "less_than": "expected a number below {lt:g}",
    "less_than_equal": "expected a number of {le:g} or less",
    "literal_error": "expected {expected}",
}
"""Words for the kinds of errors that pydantic knows."""

LONGEST_FOUND = 80
"""So much of a value is shown, in characters."""


def problems_in_words(errors: Sequence[Any], recipe: type[BaseModel]) -> list[str]:
    """One sentence for each field that has a problem, and for each problem of the whole.

    A field that may be one of several things gives pydantic an error for each of them; here they are one sentence.
    """
    by_place: dict[str, list[Any]] = {}
    for error in errors:
        by_place.setdefault(_place(error), []).append(error)
    return [_sentence(place, found, recipe) for place, found in by_place.items()]


def _place(error: Any) -> str:
    """The field, with the key or number of an entry within it; kinds that a union tried are no place."""
    loc = error["loc"]
    return ".".join(str(part) for part in loc[:1]) if loc else ""


def _sentence(place: str, errors: Sequence[Any], recipe: type[BaseModel]) -> str:
    first = errors[0]
    if first["type"] == "missing":
        return f"{place}: missing; give it in the recipe or as {flag_name(recipe, place)}."
    if first["type"] == "extra_forbidden":
        return unknown_field(place, recipe)
    told = list(dict.fromkeys(words_of(error) for error in errors))
    if not place:
        return sentence("; ".join(told))
    found = "" if any("(found " in one for one in told) else f" (found {found_words(first['input'])})"
    return sentence(f"{place}: {', or '.join(told)}{found}")


def words_of(error: Any) -> str:
    """What pydantic found wrong with a value, in plain words: a clause without the field's name."""
    pattern, context = _EXPECTED.get(error["type"]), error.get("ctx", {})
    return pattern.format(**context) if pattern else str(error["msg"]).removeprefix("Value error, ")


def unknown_field(name: str, recipe: type[BaseModel]) -> str:
    """A sentence on a field that does not exist, with the nearest ones, or all."""
    known = list(recipe.model_fields)
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}."
    return f"{name}: is no field of a recipe; {hint}"


def found_words(value: Any) -> str:
    """A value as messages show it: in YAML's words, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = repr(dict(value)) if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= LONGEST_FOUND else text[: LONGEST_FOUND - 1] + "…"
