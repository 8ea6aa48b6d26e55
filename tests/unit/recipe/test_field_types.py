"""Values against declared types."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from retain.recipe.field_types import expected, fits, type_problems, unknown_names


class Colour(enum.Enum):
    """Two names."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Holder:
    """A field of each kind."""

    whole: int = 1
    number: float | None = None
    switch: bool = False
    names: list[str] | str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    colour: Colour | str = "red"
    mode: Literal["a", "b"] = "a"
    other: Any = None


@pytest.mark.parametrize(
    ("annotation", "value", "fitting"),
    [
        (int, 3, True), (int, 3.0, False), (int, True, False), (float, 3, True), (float, float("nan"), False),
        (float, float("-inf"), False), (float, "3", False), (bool, 1, False), (bool, False, True), (str, 3, False),
        (float | None, None, True), (list[str], ["a", 3], False), (list[str] | str, "a", True),
        (dict[str, int], {"a": 1}, True), (dict[str, int], {"a": "x"}, False), (dict, {"a": "x"}, True),
        (Colour | str, "red", True), (Colour | str, "green", False), (Literal["a"], "b", False), (Any, object(), True),
    ],
)  # fmt: skip
def test_what_fits(annotation, value, fitting):
    assert fits(value, annotation) == fitting


def test_sentences_name_place_kind_and_value():
    told = type_problems(Holder, {"whole": "x", "switch": 1, "number": 2, "colour": "gren", "nothing": 3}, "h.")
    assert told == [
        "h.whole: expected a whole number (found 'x').",
        "h.switch: expected true or false (found 1).",
        "h.colour: expected red, blue (found 'gren').",
    ]
    assert type_problems(Holder, {"colour": "bleu"}, "")[0] == "colour: expected blue (found 'bleu')."
    assert expected(list[str] | str | None) == ["a list", "text"]


def test_names_that_are_no_fields():
    assert unknown_names(Holder, {"numbr": 1, "whole": 2, "zzz": 3}) == {"numbr": ["number"], "zzz": []}
