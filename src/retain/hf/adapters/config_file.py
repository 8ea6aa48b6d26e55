"""Read `adapter_config.json` and check the kinds of its values before PEFT sees them."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from peft.utils import CONFIG_NAME

from retain.errors import InputError
from retain.hf.adapters.attach import config_class, known_methods
from retain.hf.adapters.folder import Stored
from retain.records.reading import read_json_mapping

_OWN_PATTERNS = frozenset({"adalora"})
"""Methods whose `rank_pattern` is no pattern: AdaLoRA writes which ranks are left, layer by layer."""

_SIZED_BY = {
    "lora": "r",
    "lorfa": "r",
    "rotation": "rotations",
    "prompt_tuning": "num_virtual_tokens",
    "prefix_tuning": "num_virtual_tokens",
    "p_tuning": "num_virtual_tokens",
}
"""Fields that are a size of a tensor in the file. (LoKr, for one, takes a large rank for a full factor.)"""


def read_config(folder: Path) -> dict[str, Any]:
    """The values of an adapter's configuration.

    Raises:
        InputError: the file is no JSON object, its method is unknown, or a value is of another kind than its field.
    """
    path = folder / str(CONFIG_NAME)
    values = read_json_mapping(path)
    if not isinstance(values.get("peft_type"), str):
        raise InputError(f"{path}: not the configuration of a PEFT adapter (it names no peft_type).")
    method = method_of(values)
    if method not in known_methods():
        raise InputError(f"{path}: method {method!r} is unknown; PEFT knows {', '.join(known_methods())}.")
    if problems := [f"{path}: {problem}" for problem in kind_problems(method, values)]:
        raise InputError(problems)
    return values


def method_of(values: Mapping[str, Any]) -> str:
    """The method that a configuration names, in lower case."""
    return str(values["peft_type"]).lower()


def kind_problems(method: str, values: Mapping[str, Any]) -> list[str]:
    """A sentence for each value that is of another kind than its field.

    Args:
        method: one of `known_methods()`.
        values: as JSON has them. Fields that PEFT does not know are left to it.
    """
    own = config_class(method)
    hints = get_type_hints(own)
    problems = []
    for field in dataclasses.fields(own):
        if field.name not in values:
            continue
        value = values[field.name]
        allowed = _fits(value, hints[field.name]) or (value is None and field.default is None)
        if field.name.endswith("_pattern") and field.name != "layers_pattern" and method not in _OWN_PATTERNS:
            allowed = allowed and (value is None or all(_fits(one, float) for one in value.values()))
        if not allowed:
            problems.append(
                f"{field.name} is {_short(value)}; expected {_in_words(hints[field.name])}. Take the file that was "
                "saved with the weights."
            )
    return problems


def size_problems(values: Mapping[str, Any], stored: Mapping[str, Stored]) -> list[str]:
    """A sentence where a size in a configuration is that of no tensor in the file, so that PEFT need not make it.

    Args:
        values: the configuration.
        stored: the tensors of the file.
    """
    name = _SIZED_BY.get(method_of(values), "")
    largest = max((size for one in stored.values() for size in one.shape), default=0)
    if not isinstance(values.get(name), int) or values[name] <= largest:
        return []
    told = f"{name} is {values[name]} in {CONFIG_NAME}, but no tensor beside it is larger than {largest}"
    return [f"{told}; the two are not of one adapter"]


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a JSON value can stand for a type; of a type that JSON does not have anything can."""
    origin, inner = get_origin(hint), get_args(hint)
    kind = origin or hint
    if origin in (Union, types.UnionType):
        fits = any(_fits(value, one) for one in inner)
    elif origin is Literal:
        fits = any(type(value) is type(one) for one in inner)
    elif kind in (list, set, tuple):
        fits = isinstance(value, list) and all(any(_fits(one, each) for each in inner or (Any,)) for one in value)
    elif kind is dict or dataclasses.is_dataclass(kind):
        held = inner[1] if kind is dict and len(inner) == 2 else Any
        fits = isinstance(value, dict) and all(_fits(one, held) for one in value.values())
    elif kind in (int, float):
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    elif kind in (bool, types.NoneType):
        fits = isinstance(value, kind)
    else:
        fits = isinstance(value, str) or not (isinstance(kind, type) and issubclass(kind, (str, Enum)))
    return fits


def _in_words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        alternatives = {_in_words(one) for one in inner}  # in an order that typing's cache may change
        return " or ".join(sorted(alternatives, key=lambda word: (word == "null", len(word), word)))
    if origin is Literal:
        return " or ".join(dict.fromkeys(_in_words(type(one)) for one in inner))
    kind = origin or hint
    if kind in (list, set, tuple):
        return f"a list ({_in_words(inner[0])} each)" if inner else "a list"
    if kind is dict or dataclasses.is_dataclass(kind):
        return "an object"
    words = {types.NoneType: "null", bool: "true or false", int: "a number", float: "a number"}
    return words.get(kind, "text")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
