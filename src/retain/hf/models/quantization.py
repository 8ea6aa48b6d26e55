"""Quantised bases: a recipe's words as transformers' configuration, what is wrong with it, and what is made of it.

transformers and the packages behind it quantise; nothing is quantised here.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any

import transformers
from peft import prepare_model_for_kbit_training
from torch import nn
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoHfQuantizer, AutoQuantizationConfig

from retain.errors import InputError
from retain.hf.tuners.base_weight import quantization_backend
from retain.hf.tuners.storage import keep_storage

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

_VALUES = {
    "bnb_4bit_quant_type": ("nf4", "fp4"),
    "bnb_4bit_compute_dtype": ("bfloat16", "float16", "float32"),
}
"""Values of fields that transformers takes unread."""

_REFUSALS = (TypeError, ValueError, KeyError, AttributeError, ImportError, RuntimeError, OSError, AssertionError)
"""What transformers and the packages raise for configurations that they refuse."""


def quantization_config(wanted: str | Mapping[str, Any]) -> Any:
    """The configuration of transformers that a recipe asks for.

    Args:
        wanted: a name, or `class` (or `quant_method`) with the fields of that class.

    Raises:
        InputError: with every problem: no such class, unknown fields, wrong values, a package that is missing.
    """
    values = dict(NAMED[wanted]) if isinstance(wanted, str) else dict(wanted)
    made_by = _class_of(values)
    package = PACKAGES.get(made_by.__name__)
    if package is not None and importlib.util.find_spec(package) is None:
        raise InputError(
            f"quantization: needs the package {package}, which is not installed; say pip install 'retain[quant]' "
            f"(or {package} alone)."
        )
    fields = {name: value for name, value in values.items() if name not in {"class", "quant_method"}}
    if problems := _field_problems(made_by, fields):
        raise InputError(problems)
    try:
        if "quant_type" in fields and made_by is transformers.TorchAoConfig:
            fields["quant_type"] = _torchao_type(fields["quant_type"])
        config = made_by(**_floats(made_by, fields))
    except InputError:
        raise
    except _REFUSALS as error:
        raise InputError(f"quantization: {made_by.__name__} does not take these values: {error}.") from error
    if isinstance(config, transformers.BitsAndBytesConfig) and not config.is_quantizable():
        raise InputError("quantization: nothing is quantised so; add load_in_4bit: true or load_in_8bit: true.")
    return config


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
    known = _parameters(made_by)
    problems = [
        f"quantization.{name}: {made_by.__name__} has no such field; it has {', '.join(sorted(known))}."
        for name in fields
        if name not in known
    ]
    needed = [name for name, one in known.items() if one.default is inspect.Parameter.empty and name not in fields]
    problems += [f"quantization.{name}: is missing; {made_by.__name__} needs it." for name in needed]
    for name, value in fields.items():
        default = known[name].default if name in known else None
        if isinstance(default, bool) and not isinstance(value, bool):
            problems.append(f"quantization.{name}: expected true or false (found {value!r}).")
        elif name in _VALUES and value != default and value not in _VALUES[name]:
            problems.append(f"quantization.{name}: expected {' or '.join(_VALUES[name])} (found {value!r}).")
    return problems


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


def _torchao_type(given: Any) -> Any:
    """Torchao's own configuration: by the name of its class, by `class` with its fields, or as it is saved.

    Raises:
        InputError: there is no such class, or it has no such field.
    """
    from torchao import quantization  # noqa: PLC0415 -- an extra
    from torchao.core.config import AOBaseConfig, config_from_dict  # noqa: PLC0415 -- an extra

    if isinstance(given, Mapping) and "class" not in given:
        return config_from_dict(given.get("default", given))
    name = given["class"] if isinstance(given, Mapping) else given
    made_by = getattr(quantization, str(name), None)
    if not (isinstance(made_by, type) and issubclass(made_by, AOBaseConfig)):
        known = [key for key in dir(quantization) if key.endswith("WeightOnlyConfig")]
        raise InputError(f"quantization.quant_type: torchao has no {name!r}; it has {', '.join(known)}, ….")
    return made_by(**{key: value for key, value in given.items() if key != "class"} if given is not name else {})


def loading_problems(config: Any, device_map: Any, *, quantised_before: bool) -> list[str]:
    """The reasons why a configuration cannot be used here, as far as its package tells before anything is loaded.

    Args:
        config: a configuration of transformers, or a checkpoint's own as a mapping.
        device_map: where the layers are to lie.
        quantised_before: whether the checkpoint is quantised already.
    """
    try:
        quantiser = AutoHfQuantizer.from_config(config, pre_quantized=quantised_before)
        quantiser.validate_environment(device_map=device_map)
    except _REFUSALS as error:
        lacking = f"the field {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        return [f"quantization: cannot be used here: {lacking}"]
    if not quantiser.requires_calibration or quantised_before:
        return []
    kind = type(config).__name__
    cure = "give a checkpoint that is quantised so, without --quantization."
    return [f"quantization: {kind} quantises with data of its own, before a model is loaded; {cure}"]


def training_problem(config: Any, *, quantised_before: bool) -> str | None:
    """The reason why nothing can be trained on a base that is quantised so; None where it can."""
    try:
        quantiser = AutoHfQuantizer.from_config(config, pre_quantized=quantised_before)
    except _REFUSALS:  # told by `loading_problems`
        return None
    if quantiser.is_trainable:
        return None
    kind = type(quantiser.quantization_config).__name__
    return (
        f"quantization: transformers cannot train beside a base that is quantised by this {kind}; take "
        f"{', '.join(NAMED)}, which can be trained."
    )


def own_quantization(config: Any) -> dict[str, Any] | None:
    """The quantisation that a checkpoint's configuration tells of; None for one that is not quantised."""
    own = getattr(config, "quantization_config", None)
    if own is None:
        return None
    return dict(own) if isinstance(own, Mapping) else dict(own.to_dict())


def known_configuration(own: Mapping[str, Any]) -> Any:
    """A checkpoint's own quantisation as transformers' configuration.

    Raises:
        InputError: transformers does not know it.
    """
    try:
        return AutoQuantizationConfig.from_dict(dict(own))
    except _REFUSALS as error:
        raise InputError(f"quantization: the checkpoint's own cannot be used here: {error}") from error


def already_problem(own: Mapping[str, Any], wanted: Any) -> str | None:
    """The reason why a quantised checkpoint cannot be loaded with another quantisation; None where it is the same."""
    asked = wanted.to_dict()
    method = str(getattr(own.get("quant_method"), "value", own.get("quant_method")))
    differing = [name for name, value in asked.items() if name in own and _plain(own[name]) != _plain(value)]
    if not differing and method == _plain(asked["quant_method"]):
        return None
    return (
        f"quantization: the checkpoint is quantised already ({method}), otherwise than asked"
        f"{f' ({differing[0]}: {own[differing[0]]!r})' if differing else ''}; leave out --quantization to load it as "
        "it is, or give an unquantised checkpoint."
    )


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value)).removeprefix("torch.")


def prepared(model: Any) -> Any:
    """A model as it is measured and trained: a quantised one prepared as PEFT prepares k-bit training.

    What bitsandbytes leaves in 16 bits (embeddings, norms, heads, biases) is cast to float32, and everything is
    frozen. It is done as the model is loaded and not as training begins, so that the base is measured as it is computed
    under an adapter that is off. Gradient checkpointing is the Trainer's business.
    """
    if not is_quantised(model):
        return model
    for module in model.modules():
        keep_storage(module)
    prepared_model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if not quantised_layers(prepared_model):
        raise InputError(
            "quantization: not one layer of this model was quantised: it has no linear layers but its head. Leave out "
            "--quantization."
        )
    return prepared_model


def is_quantised(model: Any) -> bool:
    """Tell whether transformers loaded a model with a quantisation."""
    return getattr(model, "hf_quantizer", None) is not None


def quantised_layers(model: nn.Module) -> list[str]:
    """The names of the layers whose weights are quantised."""
    return [name for name, module in model.named_modules() if quantization_backend(module, model) is not None]


def quantization_note(model: Any, tuned: Any = None) -> list[str]:
    """A note on the quantisation of a base and its tuned model for their record; none for plain ones.

    Args:
        model: the base.
        tuned: the tuned model; None where its base is inside it.
    """
    base, other = _in_words(model), _in_words(model if tuned is None else tuned)
    if base == other:
        return [] if base is None else [f"The base is quantised ({base}); base and tuned model are both measured so."]
    base, other = (f"is quantised ({one})" if one else "is not quantised" for one in (base, other))
    told = (
        f"The base {base}, the tuned model {other}: the differences between them are those of the quantisation too, "
        "and not of the tuning alone. Quantise both alike to see that alone."
    )
    return [told]


def _in_words(model: Any) -> str | None:
    """The quantisation of a loaded model; None for a plain one."""
    own = own_quantization(getattr(model, "config", None))
    if own is None or not is_quantised(model):
        return None
    method = _plain(own.get("quant_method"))
    in_4_bits = own.get("load_in_4bit", True)
    told = ", ".join(
        f"{name}: {_plain(value)}"
        for name, value in own.items()
        if name in _TOLD and value not in (None, False) and (in_4_bits or not name.startswith("bnb_4bit"))
    )
    return f"{method}{f'; {told}' if told else ''}"


_TOLD = (
    "load_in_4bit", "load_in_8bit", "bits", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant",
    "bnb_4bit_compute_dtype", "group_size", "w_bit",
)  # fmt: skip
"""Fields of a quantisation that a record tells."""
