"""Problems of a row in words of rows and fields, whatever a validator calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retain.data.texts import quoted

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}
"""What a field should hold, by the validator's name of the problem."""

_PLAIN = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this form",
    "string_too_short": "is empty",
    "string_unicode": "holds characters that UTF-8 cannot write (half of a surrogate pair)",
}

Place = Sequence[str | int]


def sentences_of(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """All problems of a row; a list is not called short because of entries that were wrong."""
    within = {tuple(problem["loc"][:-1]) for problem in problems if problem["loc"]}
    return [sentence_of(one) for one in problems if one["type"] != "too_short" or tuple(one["loc"]) not in within]


def sentence_of(problem: Mapping[str, Any]) -> str:
    """One problem of pydantic's `ValidationError.errors()` as a clause: field "prompt": expected text, found null."""
    place, text = place_of(problem["loc"]), _clause(problem)
    return f"{place}: {text}" if place else text


def place_of(place: Place) -> str:
    """A place in a row: field "choices", entry 2. Entries are counted from 1."""
    parts = [f"entry {part + 1}" if isinstance(part, int) else f'field "{part}"' for part in place]
    return ", ".join(parts)


def found(value: Any) -> str:
    """A value as messages name it: null, true, the number 3, a list, an object, text 'a b'."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"text {quoted(value)}" if value.strip() else "text without a visible character"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, Sequence) else f"a value of type {type(value).__name__}"


def _clause(problem: Mapping[str, Any]) -> str:
    kind, context = str(problem["type"]), problem.get("ctx", {})
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, found {found(problem.get('input'))}"
    if kind == "too_short":
        return f"expected at least {context.get('min_length')} entries, found {context.get('actual_length')}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return _PLAIN.get(kind) or (message if kind == "value_error" else message[:1].lower() + message[1:])
