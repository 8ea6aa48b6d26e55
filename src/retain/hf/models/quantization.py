"""Quantised bases: what stands against one here, how it is prepared, and what is told of it.

transformers and the packages behind it quantise; nothing is quantised here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from peft import prepare_model_for_kbit_training
from torch import nn
from transformers.quantizers.auto import AutoHfQuantizer, AutoQuantizationConfig
from transformers.quantizers.quantizers_utils import should_convert_module

from retain.errors import InputError
from retain.hf.models.quantization_config import LEAVING_OUT, NAMED, REFUSALS
from retain.hf.tuners.base_weight import quantization_backend
from retain.hf.tuners.storage import keep_storage
from retain.hf.tuners.targets import linear_names


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
    except REFUSALS as error:
        lacking = f"the field {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        return [f"quantization: cannot be used here: {lacking}"]
    return []


def unmatched_modules(config: Any, model: nn.Module) -> list[str]:
    """A sentence for each module that a configuration leaves unquantised and that the model has not.

    Args:
        config: a configuration of transformers.
        model: the model, with or without its weights.
    """
    field = next((one for one in LEAVING_OUT if getattr(config, one, None)), None)
    if field is None:
        return []
    names, problems = [name for name, _ in model.named_modules() if name], []
    for given in getattr(config, field):
        try:
            if all(should_convert_module(name, [given]) for name in names):
                linear = ", ".join(linear_names(model)[:12])
                problems.append(f"no module of the model is named {given!r}; its linear layers are named {linear}.")
        except re.error as error:
            problems.append(f"{given!r} is no regular expression ({error}).")
    return [f"quantization.{field}: {problem}" for problem in problems]


def training_problem(config: Any, *, quantised_before: bool) -> str | None:
    """The reason why nothing can be trained on a base that is quantised so; None where it can."""
    try:
        quantiser = AutoHfQuantizer.from_config(config, pre_quantized=quantised_before)
    except REFUSALS:  # told by `loading_problems`
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
    except REFUSALS as error:
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
