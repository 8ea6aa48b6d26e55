"""Flags from fields: a recipe's fields become a verb's options, with their descriptions as help. No torch here."""

from __future__ import annotations

import types
from collections.abc import Iterable
from inspect import get_annotations
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

SEVERAL = {
    "keep": "SUITE", "held_out_text": "FILE", "lm_eval": "TASK", "labels": "CLASS", "budget": "NAME:LIMIT",
    "groups": "PATTERN:SHARE",
}  # fmt: skip
"""Fields that take several values after one flag."""

REPEATED = frozenset({"budget", "groups"})
"""Those of them whose flag may stand several times, too."""

FLAGS = {"from_run": "--from"}
"""Flags that are not called as their field."""

COMMA_SEPARATED = frozenset({"methods", "learning_rates", "seeds", "alphas", "replays"})
"""Fields given as one a,b,c on the command line."""

TRUTHS = frozenset({"true", "false", "yes", "no"})
"""What may follow a flag that is true or false; alone it means true."""


ESSENTIAL = (
    *("model", "tuned", "method", "train", "test", "keep", "held_out_text", "budget", "output"),
    *("from_run", "learning_rate", "learning_rates", "max_steps"),
)
"""What most calls say: it stands first in the help."""

TOPICS = {
    "Recipe": "how it is trained",
    "CompareRecipe": "what is compared",
    "AdviseRecipe": "the sweep",
    "ScaleRecipe": "the update scaling",
    "CalibrateRecipe": "which layers",
    "Regularisation": "losing less while training",
    "Controlling": "the budget in detail",
    "Calibrating": "text that shows what to keep",
    "Measuring": "how it is measured",
}
"""What the other fields are about, by the class that holds them."""


def recipe_parser(
    recipe: type[BaseModel],
    description: str,
    example: str,
    leave_out: frozenset[str] = frozenset(),
    *,
    given: str = "RECIPE.yaml",
) -> ArgumentParser:
    """A verb's parser: what is given (a recipe file), and a flag for each field of the recipe but those left out."""
    verb = example.split()[1]
    usage = f"retain {verb} [{given}] [--FLAG VALUE …]"
    parser = ArgumentParser(usage=usage, description=description, epilog=f"Example: {example}")
    parser.add_argument("recipe", nargs="?", type=str, help=f"{given}: a recipe is a YAML file of the fields below.")
    _add_flags(parser, recipe, leave_out)
    return parser


def _add_flags(parser: ArgumentParser, recipe: type[BaseModel], leave_out: frozenset[str]) -> None:
    """Add one `--flag` for each field of the recipe. Defaults are shown, not filled in: what is given overrides."""
    topics = {name: _topic(recipe, name) for name in recipe.model_fields if name not in leave_out}
    titles = ["", *(title for title in TOPICS.values() if title in topics.values())]
    groups = {title: parser.add_argument_group(title or "what most calls say") for title in titles}
    first = [name for name in ESSENTIAL if name in topics]
    for name in dict.fromkeys([*first, *topics]):
        _add_flag(groups[topics[name]], name, recipe.model_fields[name])


def _topic(recipe: type[BaseModel], name: str) -> str:
    """What a field is about; empty for what most calls say."""
    if name in ESSENTIAL:
        return ""
    holders = [kind.__name__ for kind in recipe.__mro__ if name in get_annotations(kind)]
    return next((TOPICS[holder] for holder in holders if holder in TOPICS), TOPICS["Measuring"])


def _add_flag(group: Any, name: str, field: FieldInfo) -> None:
    flag = FLAGS.get(name, f"--{name.replace('_', '-')}")
    text = (field.description or "").replace("%", "%%")
    if name in REPEATED:
        group.add_argument(flag, type=str, nargs="+", action="append", help=text, metavar=SEVERAL[name])
    elif name in SEVERAL:
        group.add_argument(flag, type=str, nargs="+", help=text, metavar=SEVERAL[name])
    elif name in COMMA_SEPARATED:
        group.add_argument(flag, type=str, help=text, metavar="A,B,…")
    elif name in ("method", "training"):
        group.add_argument(flag, type=dict[str, Any], help=text, metavar="NAME" if name == "method" else "FIELDS")
    else:
        default = None if field.default is PydanticUndefined else field.default
        group.add_argument(flag, type=_flag_type(field.annotation), default=default, help=text)


def named_method(arguments: list[str]) -> list[str]:
    """`--method NAME` as `--method.name NAME`, so that `--method.FIELD VALUE` can stand beside it."""
    renamed = ["--method.name" if argument == "--method" else argument for argument in arguments]
    return [
        argument.replace("--method=", "--method.name=", 1) if argument.startswith("--method=") else argument
        for argument in renamed
    ]


def bare_switches(arguments: list[str], recipes: Iterable[type[BaseModel]]) -> list[str]:
    """`--gate` as `--gate=true`, for each field of the recipes that is true or false; `--gate false` stays as it is."""
    fields = {name for recipe in recipes for name, field in recipe.model_fields.items() if field.annotation is bool}
    switches = {f"--{name.replace('_', '-')}" for name in fields}
    said = [*arguments[1:], ""]
    return [
        f"{argument}=true" if argument in switches and following.lower() not in TRUTHS else argument
        for argument, following in zip(arguments, said, strict=True)
    ]


def overrides(given: Namespace) -> dict[str, Any]:
    """The values given on the command line, as a recipe takes them."""
    values = {key: value for key, value in given.as_dict().items() if value is not None and key != "recipe"}
    for name in COMMA_SEPARATED & values.keys():
        values[name] = _listed(name, values[name])
    for name in REPEATED & values.keys():
        values[name] = [entry for entries in values[name] for entry in entries]
    return values


def _listed(name: str, text: str) -> Any:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if name == "methods":
        return parts
    numbers = [_number(part, int if name == "seeds" else float) for part in parts]
    return numbers[0] if name == "seeds" and "," not in text and numbers else numbers


def _number(text: str, kind: type[int | float]) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text  # the recipe's own check names the field and the value


def _flag_type(annotation: Any) -> Any:
    """The type without None: a flag that is given has a value. Names are left to the recipe's own check."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        annotation = parts[0] if len(parts) == 1 else str  # the recipe's own check reads it
    return Literal[get_args(annotation)] if get_origin(annotation) is Literal else annotation
