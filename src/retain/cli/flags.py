"""Flags from fields: a recipe's fields become a verb's options, with their descriptions as help. No torch here."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from retain.cli.help_text import ALL, add_argument, add_help, default_text, make_verb_parser, topics_text
from retain.errors import InputError
from retain.recipe import RECIPES
from retain.recipe.marks import COMMON, TOPICS, Flag, flag_name, flags

Shape = Literal["value", "switch", "several", "pairs", "list", "fields"]
"""Shape of a flag, by its field's type:

value    one value
switch   true or false; alone it means true
several  several values after one flag
pairs    NAME:NUMBER, several after one flag, which may be repeated
list     A,B,… as one word
fields   a mapping, as --flag.FIELD VALUE
"""

SWITCH_VALUES = frozenset({"true", "false", "yes", "no"})
"""Words that may follow a switch."""


def recipe_parser(
    recipe: type[BaseModel],
    description: str,
    example: str,
    *,
    topic: str = ALL,
    own: tuple[str, ...] = (),
    leave_out: tuple[str, ...] = (),
    given: tuple[str, str] = ("RECIPE.yaml", "Recipe: a YAML file of the fields that are flags here."),
    several: bool = False,
) -> ArgumentParser:
    """A verb's parser: a recipe file, and a flag for each field. Defaults are shown, not filled in.

    Args:
        recipe: its fields become flags.
        description: of the verb.
        example: a command.
        topic: whose flags the help shows: all of them, the common ones, or those of one topic.
        own: topics that this verb is about; the help shows them with the common ones.
        leave_out: fields that get no flag.
        given: the placeholder and the text of the argument.
        several: whether several arguments may be given.

    Raises:
        InputError: there is no such topic.
    """
    fields = {name: flag for name, flag in flags(recipe).items() if name not in leave_out}
    present = [name for name in TOPICS if name in {flag.topic for flag in fields.values()}]
    shown = {ALL: set(present), COMMON: {COMMON, *own}}.get(topic, {topic})
    if not shown <= set(present):
        raise InputError(f"--help {topic}: there is no such topic; give one of {', '.join([*present[1:], ALL])}.")
    hidden = [name for name in present if name not in shown]
    verb = example.split()[1]
    listed = {topic: [flag_name(recipe, name) for name in fields if fields[name].topic == topic] for topic in hidden}
    more = topics_text(verb, listed) if topic == COMMON else ""
    parser = make_verb_parser(f"[{given[0]}] [--FLAG VALUE …]", description, example, more)
    groups = {name: parser.add_argument_group(_heading(name)) for name in present}
    add_argument(
        groups[COMMON],
        "recipe",
        given[1],
        shown=COMMON in shown,
        nargs="*" if several else "?",
        type=str,
        metavar=given[0],
    )
    for name, flag in sorted(fields.items(), key=lambda one: one[1].place):
        _add_flag(groups[flag.topic], recipe, name, flag, shown=flag.topic in shown)
    add_help(groups[COMMON], shown=COMMON in shown)
    return parser


def _heading(topic: str) -> str:
    return f"{topic} ({TOPICS[topic]})" if TOPICS[topic] else topic


def _add_flag(group: Any, recipe: type[BaseModel], name: str, flag: Flag, *, shown: bool) -> None:
    field = recipe.model_fields[name]
    shape = shape_of(field.annotation)
    text = " ".join(part for part in (field.description, default_text(field)) if part)
    several: dict[str, Any] = {"nargs": "+"} if shape in {"several", "pairs"} else {}
    repeated = {"action": "append"} if shape == "pairs" else {}
    kind, placeholder = _flag_type(field.annotation, shape), flag.placeholder or _placeholder(field, shape)
    given = {**several, **repeated, "type": kind, "metavar": placeholder}
    add_argument(group, flag_name(recipe, name), text, shown=shown, **given)


def _placeholder(field: FieldInfo, shape: Shape) -> str:
    annotation = _without_none(field.annotation)
    if shape == "list":
        return "A,B,…"
    if shape == "switch":
        return "{true,false}" if field.default else ""
    if get_origin(annotation) is Literal:
        return "{" + ",".join(map(str, get_args(annotation))) + "}"
    return {int: "N", float: "X"}.get(annotation, "VALUE")


def shape_of(annotation: Any) -> Shape:
    """The shape of the flag of a field of some type."""
    annotation = _without_none(annotation)
    if annotation is bool:
        return "switch"
    if get_origin(annotation) is dict:
        return "fields" if get_args(annotation)[1] is Any else "pairs"
    if annotation == tuple[str, ...]:
        return "several"
    parts = get_args(annotation) if _is_union(annotation) else (annotation,)
    return "list" if any(get_origin(part) is tuple for part in parts) else "value"


def _flag_type(annotation: Any, shape: Shape) -> Any:
    """The type that the parser reads: of values text, of which the recipe's own check tells all that is wrong."""
    return _without_none(annotation) if shape in {"fields", "switch"} else str


def _without_none(annotation: Any) -> Any:
    """A type without None: a flag that is given has a value."""
    if not _is_union(annotation):
        return annotation
    parts = tuple(part for part in get_args(annotation) if part is not type(None))
    return Union[parts]  # noqa: UP007 -- built from a tuple of types, which X | Y cannot


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def named_method(arguments: list[str]) -> list[str]:
    """`--method NAME` as `--method.name NAME`, so that `--method.FIELD VALUE` can stand beside it."""
    renamed = ["--method.name" if argument == "--method" else argument for argument in arguments]
    return [
        argument.replace("--method=", "--method.name=", 1) if argument.startswith("--method=") else argument
        for argument in renamed
    ]


def bare_switches(arguments: list[str]) -> list[str]:
    """`--gate` as `--gate=true`, for each switch of any recipe; `--gate false` stays as it is."""
    fields = {(recipe, name): field.annotation for recipe in RECIPES for name, field in recipe.model_fields.items()}
    switches = {flag_name(*place) for place, annotation in fields.items() if shape_of(annotation) == "switch"}
    following = [*arguments[1:], ""]
    return [
        f"{argument}=true" if argument in switches and after.lower() not in SWITCH_VALUES else argument
        for argument, after in zip(arguments, following, strict=False)
    ]


def read_arguments(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """Parse the arguments of a verb; only what is given, without defaults."""
    return parser.parse_args(named_method(bare_switches(arguments)), defaults=False)


def overrides(recipe: type[BaseModel], given: Namespace) -> dict[str, Any]:
    """The values given on the command line, by field, as a recipe takes them."""
    values = {key: value for key, value in given.as_dict().items() if value is not None and key != "recipe"}
    names = {flag_name(recipe, name).removeprefix("--").replace("-", "_"): name for name in recipe.model_fields}
    return {name: _value(recipe, name, values[key]) for key, name in names.items() if key in values}


def _value(recipe: type[BaseModel], name: str, value: Any) -> Any:
    annotation = recipe.model_fields[name].annotation
    shape = shape_of(annotation)
    if shape == "pairs":
        return [entry for entries in value for entry in entries]
    if shape == "list":
        return _listed(annotation, value)
    kind = _without_none(annotation)
    return _number(value, kind) if kind in (int, float) else value


def _listed(annotation: Any, text: str) -> Any:
    """`a,b` as a list of numbers or names; one number alone stays one where the field takes that."""
    alternatives = get_args(annotation) if _is_union(annotation) else (annotation,)
    item = next(get_args(part)[0] for part in alternatives if get_origin(part) is tuple)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if item not in (int, float):
        return parts
    numbers = [_number(part, item) for part in parts]
    return numbers[0] if item in alternatives and "," not in text and numbers else numbers


def _number(text: str, kind: type[int | float]) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text  # the recipe's own check names the field and the value
