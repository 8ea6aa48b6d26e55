"""Quantisations that recipes ask for, by name or by fields, as configurations of transformers; what is wrong with them.

transformers takes most values unread, and torchao's configurations all of them: what cannot be meant would fail as the
model is loaded, or quantise in another way than was asked.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import math
from collections.abc import Mapping
from typing import Any

import transformers
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING

from retain.errors import InputError

NAMED: dict[str, dict[str, Any]] = {
    "4bit": {
        "class": "BitsAndBytesConfig",
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "bfloat16",
    },
    "8bit": {"class": "BitsAndBytesConfig", "load_in_8bit": True},
    "torchao-int8": {"class": "TorchAoConfig", "quant_type": "Int8WeightOnlyConfig"},
}
"""The quantisations that have a name; 4bit is QLoRA's."""

PACKAGES = {"BitsAndBytesConfig": "bitsandbytes", "TorchAoConfig": "torchao"}
"""Packages of the extra `quant`, by the configuration that needs them."""

LEAVING_OUT = ("llm_int8_skip_modules", "modules_to_not_convert")
"""Fields of configurations that name modules which stay as they are."""

_VALUES = {
    "bnb_4bit_quant_type": ("nf4", "fp4"),
    "bnb_4bit_compute_dtype": ("bfloat16", "float16", "float32"),
}
"""Values of fields that transformers takes unread."""

REFUSALS = (TypeError, ValueError, KeyError, AttributeError, ImportError, RuntimeError, OSError, AssertionError)
"""What transformers and the packages raise for configurations that they refuse."""


def quantization_config(wanted: str | Mapping[str, Any]) -> Any:
    """The configuration of transformers that a recipe asks for.

    Args:
        wanted: a name, or `class` (or `quant_method`) with the fields of that class.

    Raises:
        InputError: with every problem: no such class, unknown fields, wrong values, a package that is missing, or
            weights that are not quantised as they are loaded.
    """
    values = dict(NAMED[wanted]) if isinstance(wanted, str) else dict(wanted)
    made_by = _class_of(values)
    if made_by in _made_beforehand():
        raise InputError(
            f"quantization: weights for {made_by.__name__} are made beforehand, by a tool or a training of their own, "
            f"and not as a model is loaded; take {', '.join(NAMED)}, or give a checkpoint that is quantised so, "
            "without --quantization."
        )
    package = PACKAGES.get(made_by.__name__)
    if package is not None and importlib.util.find_spec(package) is None:
        raise InputError(
            f"quantization: needs the package {package}, which is not installed; say pip install 'retain[quant]' "
            f"(or {package} alone)."
        )
    fields = {name: value for name, value in values.items() if name not in {"class", "quant_method"}}
    kind = fields.get("quant_type") if made_by is transformers.TorchAoConfig else None
    if problems := [*_field_problems(made_by, fields), *([] if kind is None else _torchao_problems(kind))]:
        raise InputError(problems)
    try:
        if kind is not None:
            fields["quant_type"] = _torchao_type(kind)
        config = made_by(**_floats(made_by, fields))
    except ImportError as error:
        raise InputError(f"quantization: {made_by.__name__} cannot be used here: {_sentence(error)}") from error
    except REFUSALS as error:
        raise InputError(f"quantization: {made_by.__name__} does not take these values: {_sentence(error)}") from error
    if isinstance(config, transformers.BitsAndBytesConfig) and not config.is_quantizable():
        raise InputError("quantization: nothing is quantised so; add load_in_4bit: true or load_in_8bit: true.")
    return config


def _sentence(error: Exception) -> str:
    """What a package raised, in one line with one full stop."""
    return f"{' '.join(str(error).split()).rstrip('. ')}."


def _made_beforehand() -> set[Any]:
    """The configurations of transformers that say how a checkpoint is quantised, and not how to quantise one."""
    methods = {name for name, quantiser in AUTO_QUANTIZER_MAPPING.items() if quantiser.requires_calibration}
    methods |= {"gptq", "gguf"}  # GPTQ would fetch data from the internet; GGUF is a form of files
    return {made_by for name, made_by in AUTO_QUANTIZATION_CONFIG_MAPPING.items() if name in methods}


def _class_of(values: Mapping[str, Any]) -> Any:
    """The class of transformers that fields belong to.

    Raises:
        InputError: none is named, or none has this name.
    """
    classes = {made_by.__name__: made_by for made_by in AUTO_QUANTIZATION_CONFIG_MAPPING.values()}
    if "class" in values:
        if str(values["class"]) in classes:
            return classes[str(values["class"])]
        raise InputError(
            f"quantization: transformers has no quantisation class {values['class']!r}; it has "
            f"{', '.join(sorted(classes))}."
        )
    method = values.get("quant_method")
    if method == "bitsandbytes" or (method is None and {"load_in_4bit", "load_in_8bit"} & values.keys()):
        return transformers.BitsAndBytesConfig
    if str(method) in AUTO_QUANTIZATION_CONFIG_MAPPING:
        return AUTO_QUANTIZATION_CONFIG_MAPPING[str(method)]
    known = sorted({"bitsandbytes", *(name for name in AUTO_QUANTIZATION_CONFIG_MAPPING if "bitsandbytes" not in name)})
    found = "nothing" if method is None else repr(method)
    raise InputError(f"quantization.quant_method: expected one of {', '.join(known)} (found {found}).")


def _field_problems(made_by: Any, fields: Mapping[str, Any]) -> list[str]:
    known = {name: one.default for name, one in _parameters(made_by).items()}
    place = "quantization."
    problems = _unknown(place, made_by, known, fields)
    needed = [name for name, default in known.items() if default is inspect.Parameter.empty and name not in fields]
    problems += [f"{place}{name}: is missing; {made_by.__name__} needs it." for name in needed]
    problems += _value_problems(place, known, fields)
    if made_by is transformers.BitsAndBytesConfig:
        bits, unread = ("load_in_4bit", _OF_8_BITS) if fields.get("load_in_4bit") else ("load_in_8bit", _OF_4_BITS)
        problems += [
            f"{place}{name}: is not read with {bits}; leave it out."
            for name, value in fields.items()
            if name.startswith(unread) and value != known.get(name) and fields.get(bits) is True
        ]
    return problems


_OF_4_BITS, _OF_8_BITS = ("bnb_4bit_",), ("llm_int8_threshold", "llm_int8_has_fp16_weight")
"""Fields (or their beginnings) that bitsandbytes reads with the one and not with the other."""


def _unknown(place: str, made_by: Any, known: Mapping[str, Any], fields: Mapping[str, Any]) -> list[str]:
    return [
        f"{place}{name}: {made_by.__name__} has no such field; it has {', '.join(sorted(known))}."
        for name in fields
        if name not in known
    ]


def _value_problems(place: str, defaults: Mapping[str, Any], fields: Mapping[str, Any]) -> list[str]:
    """A sentence for each value that cannot be meant, by the field's default: numbers of its kind, and of its sign."""
    given = [(name, value, defaults[name]) for name, value in fields.items() if name in defaults]
    return [
        f"{place}{name}: expected {expected} (found {value!r})."
        for name, value, default in given
        if value != default and (expected := _misfit(name, value, default))
    ]


def _misfit(name: str, value: Any, default: Any) -> str | None:
    """What a field expects, where a value is nothing of the kind; else None."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if name in _VALUES:
        return None if value in _VALUES[name] else " or ".join(_VALUES[name])
    if type(default) in (int, float):
        is_number = isinstance(value, (type(default), int)) and not isinstance(value, bool) and math.isfinite(value)
        least = (1 if type(default) is int else 0) if default > 0 else -math.inf
        words = f"a {'whole' if type(default) is int else 'finite'} number"
        return None if is_number and value >= least else words + (f" of {least} or more" if default > 0 else "")
    if "modules" in name and value is not None:
        is_list = isinstance(value, list | tuple) and all(isinstance(one, str) and one for one in value)
        return None if is_list else "a list of modules' names"
    return None


def _parameters(made_by: Any) -> dict[str, inspect.Parameter]:
    given = inspect.signature(made_by.__init__).parameters
    named = {name: one for name, one in given.items() if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return {name: one for name, one in named.items() if name != "self"}


def _floats(made_by: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, whole numbers as floats where a float is the default: transformers refuses 6 for 6.0."""
    known = _parameters(made_by)
    return {
        name: float(value) if isinstance(known[name].default, float) and type(value) is int else value
        for name, value in fields.items()
    }


def _torchao_problems(given: Any) -> list[str]:
    """What is wrong with the name of a class of torchao, or with its fields."""
    from torchao import quantization  # noqa: PLC0415 -- an extra
    from torchao.core.config import AOBaseConfig  # noqa: PLC0415 -- an extra

    if isinstance(given, Mapping) and "class" not in given:
        return []  # as it is saved
    name = given["class"] if isinstance(given, Mapping) else given
    made_by = getattr(quantization, str(name), None)
    if not (isinstance(made_by, type) and issubclass(made_by, AOBaseConfig)):
        known = [key for key in dir(quantization) if key.endswith("WeightOnlyConfig")]
        return [f"quantization.quant_type: torchao has no {name!r}; it has {', '.join(known)}, …."]
    fields = {key: value for key, value in given.items() if key != "class"} if isinstance(given, Mapping) else {}
    defaults = {one.name: one.default for one in dataclasses.fields(made_by) if one.init}
    place = "quantization.quant_type."
    return [*_unknown(place, made_by, defaults, fields), *_value_problems(place, defaults, fields)]


def _torchao_type(given: Any) -> Any:
    """Torchao's own configuration: by the name of its class, by `class` with its fields, or as it is saved."""
    from torchao import quantization  # noqa: PLC0415 -- an extra
    from torchao.core.config import config_from_dict  # noqa: PLC0415 -- an extra

    if not isinstance(given, Mapping):
        return getattr(quantization, str(given))()
    if "class" not in given:
        return config_from_dict(given.get("default", given))
    return getattr(quantization, str(given["class"]))(**{key: one for key, one in given.items() if key != "class"})
