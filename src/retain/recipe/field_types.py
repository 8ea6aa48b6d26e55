"""Values against the types of a foreign configuration: TrainingArguments and PEFT's configs check none themselves."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from retain.recipe.problem_words import found_words

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    dict: "fields with values",
    list: "a list",
    set: "a list",
    tuple: "a list",
}


def type_problems(holder: type, values: Mapping[str, Any], place: str) -> list[str]:
    """A sentence for each value that is not of the type that its field declares.

    true and false are no numbers, and a number that is not finite is none either.

    Args:
        holder: a dataclass.
        values: by field; those that are no fields are left to the caller.
        place: what stands before a field's name in a message, as "training.".
    """
    hints = get_type_hints(holder)
    return [
        f"{place}{name}: expected {_expected_words(hints[name], value)} (found {found_words(value)})."
        for name, value in values.items()
        if name in hints and not fits(value, hints[name])
    ]


def _expected_words(annotation: Any, value: Any) -> str:
    """What a type takes, in words; of many names those that are most like the value, if any is."""
    names = [str(member.value) for part in _parts(annotation) if _is_enum(part) for member in part]
    near = difflib.get_close_matches(str(value), names, n=3)
    return " or ".join(near or expected(annotation))


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; where names of an enumeration are among them, any other text is not."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return tuple(part for part in parts if part is not str or not any(map(_is_enum, parts)))


def unknown_names(holder: type, values: Mapping[str, Any]) -> dict[str, list[str]]:
    """The values that are no fields of a dataclass, each with the fields that are named most alike."""
    known = [field.name for field in dataclasses.fields(holder) if field.init]
    return {name: difflib.get_close_matches(name, known, n=2) for name in values if name not in known}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_PLAIN: dict[Any, Callable[[Any], bool]] = {
    None: lambda value: value is None,
    type(None): lambda value: value is None,
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, int) and not isinstance(value, bool),
    float: _is_number,
    str: lambda value: isinstance(value, str),
}


def fits(value: Any, annotation: Any) -> bool:
    """True if a plain value is of a type; types that are not plain take anything."""
    origin, parts = get_origin(annotation), get_args(annotation)
    kind = origin or annotation
    if kind in (Union, types.UnionType):
        return any(fits(value, part) for part in _parts(annotation))
    if kind is Literal:
        return value in parts
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    if kind is dict:
        inner = parts[1] if len(parts) == 2 else Any
        return isinstance(value, Mapping) and all(fits(one, inner) for one in value.values())
    if kind in (list, set, tuple):
        inner = parts[0] if parts else Any
        return isinstance(value, list | set | tuple) and all(fits(one, inner) for one in value)
    return not _is_enum(kind) or isinstance(value, kind) or value in {member.value for member in kind}


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def expected(annotation: Any) -> list[str]:
    """The kinds of values that a type takes, in words."""
    if get_origin(annotation) in (Union, types.UnionType):
        return list(dict.fromkeys(word for part in _parts(annotation) for word in expected(part)))
    if get_origin(annotation) is Literal:
        return [", ".join(map(found_words, get_args(annotation)))]
    kind = get_origin(annotation) or annotation
    if kind is type(None):
        return []
    if _is_enum(kind):
        return [", ".join(str(member.value) for member in kind)]
    return [_WORDS.get(kind, str(getattr(kind, "__name__", kind)))]
