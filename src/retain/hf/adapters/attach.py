"""Attach any PEFT method by its name and a mapping of fields, as a recipe or a command line gives them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tempfile
from collections.abc import Container, Sequence
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from retain.errors import InputError, RetainError
from retain.hf.adapters.told_lora import tell_merge_loss
from retain.hf.models.direct_reads import passed_over
from retain.hf.models.head import head_names
from retain.hf.models.placement import stand_ins
from retain.hf.models.sides import root_of
from retain.hf.tuners.all_linear import all_linear_excludes, is_all_linear
from retain.hf.tuners.targets import lora_targets, pattern

_OWN_TARGETS = frozenset({"adaption_prompt", "beft", "ia3", "ln_tuning", "shadow", "trainable_tokens"})
"""Methods that keep PEFT's default for `target_modules`: it does not mean linear layers there, or (IA3) PEFT saves an
adapter of all linear layers in a form that it cannot load."""


def known_methods() -> list[str]:
    """The names of all methods that PEFT knows now, ours among them, in lower case."""
    return sorted(member.lower() for member in map(_value, PEFT_TYPE_TO_CONFIG_MAPPING))


def with_rank(name: str, fields: dict[str, Any], rank: int | None) -> dict[str, Any]:
    """The fields with `r` set to the rank, where the method has one and the fields do not set it.

    Args:
        name: the method; an unknown one keeps its fields; whoever uses them reports it.
        fields: fields of its PEFT config.
        rank: the rank, or None.
    """
    if rank is None or name not in known_methods():
        return fields
    has_rank = "r" in {field.name for field in dataclasses.fields(config_class(name))}
    return {"r": rank, **fields} if has_rank else fields


def validate(name: str, fields: dict[str, Any], others: Sequence[str] = ()) -> list[str]:
    """The problems of a method's name or fields that can be found without a model.

    Args:
        name: the method, e.g. `vefa`, `lora`, `ia3`.
        fields: fields of its PEFT config.
        others: methods that are no PEFT type of their own, which an unknown name may mean too.

    Returns:
        One sentence a problem; empty if there is none.
    """
    try:
        if name not in known_methods():
            raise _no_method(name, others)
        _config(name, fields)
    except InputError as error:
        return list(error.problems)
    return []


def attach(model: nn.Module, name: str, fields: dict[str, Any] | None = None, *, adapter: str = "default") -> PeftModel:
    """Attach a fresh adapter to a model.

    Where `target_modules` is not given, all linear layers but the output head are adapted. Where `task_type` is not
    given, that of a model with a language-modelling head is taken from its class.

    Args:
        model: the base model; its layers are replaced in place, as PEFT does.
        name: the method, one of `known_methods()`.
        fields: fields of its PEFT config.
        adapter: the adapter's name.

    Returns:
        The model with the adapter, ready to train.

    Raises:
        InputError: the method or a field is unknown, or PEFT cannot make this adapter for this model.
    """
    given = with_head(model, name, dict(fields or {}))
    natural = task_type(model)
    if given.setdefault("task_type", natural) not in (None, natural) and natural is not None:
        raise InputError(
            f"method {name}: task_type: {type(root_of(model)).__name__} is {natural} (found {given['task_type']!r}); "
            "leave it out."
        )
    config = _config(name, given)
    if is_all_linear(getattr(config, "target_modules", None)) and hasattr(config, "exclude_modules"):
        config.exclude_modules = all_linear_excludes(model, config.exclude_modules)
    try:
        with stand_ins(model) as offloaded:
            adapted = get_peft_model(model, config, adapter_name=adapter)
    except RetainError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, RuntimeError, ImportError) as error:
        cure = _naming_layers(model, name) if "Please specify `target_modules`" in str(error) else ""
        raise InputError(f"method {name}: PEFT cannot make this adapter for this model: {error}{cure}") from error
    if offloaded:
        _check_read_nothing(name, adapted)
    _check_acts(name, adapted)
    _check_reloads(name, adapted.peft_config[adapter])
    tell_merge_loss(adapted)
    return adapted


def _check_read_nothing(name: str, adapted: PeftModel) -> None:
    """Refuse an adapter that was initialised from weights which are offloaded, and so were not there.

    Raises:
        InputError: the model is as it was.
    """
    if all(bool(torch.isfinite(p).all()) for p in adapted.parameters() if p.requires_grad):
        return
    adapted.unload()
    raise InputError(
        f"method {name}: PEFT initialises it from the base's weights, and some of these are offloaded; take sc-lora, "
        "vefa, lorfa or lora, which need not read them at once, or a device map that offloads nothing."
    )


def _naming_layers(model: nn.Module, name: str) -> str:
    """The cure of a method that has no default layers for a model."""
    names = sorted({key.rpartition(".")[2] for key in lora_targets(model, {"target_modules": "all-linear"})})
    more = "; and feedforward_modules, those of them whose input is to be scaled, or []" if name == "ia3" else ""
    return (
        ". PEFT has no default for models of this type: say --method.target_modules with some of the linear layers, "
        f"{json.dumps(names)}{more}."
    )


def _check_acts(name: str, adapted: PeftModel) -> None:
    """Refuse before training adapters on layers that the model's code passes over.

    Raises:
        InputError: names the layers and the cure; the model is as it was.
    """
    root = root_of(adapted)
    lost = []
    for key, module in root.named_modules():
        parent, _, own = key.rpartition(".")
        holder = root.get_submodule(parent)
        if not isinstance(module, BaseTunerLayer) or isinstance(holder, BaseTunerLayer):
            continue
        if passed_over(holder, own) and not isinstance(module.get_base_layer(), nn.Embedding):
            lost.append((key, type(holder).__name__))
    if lost:
        adapted.unload()
        raise InputError(
            [
                f"method {name}: {key}: the code of {holder} reads this weight without calling the layer, always or in "
                f"a fused kernel, so an adapter on it would be passed over; leave it out of target_modules, or say "
                f"--method.exclude_modules '{pattern(key)}'."
                for key, holder in lost
            ]
        )


def _check_reloads(name: str, config: PeftConfig) -> None:
    """Refuse before training an adapter that PEFT would save and could not load again."""
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        try:
            PeftConfig.from_pretrained(folder)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"method {name}: an adapter with these fields can be saved but not loaded again ({error}); name the "
                "layers in target_modules one by one."
            ) from error


def _config(name: str, fields: dict[str, Any]) -> Any:
    own_class = config_class(name)
    known = [field.name for field in dataclasses.fields(own_class) if field.init]
    if unknown := [field for field in fields if field not in known]:
        raise InputError([_unknown(name, field, known) for field in unknown])
    chosen = dict(fields)
    if "target_modules" in known and name not in _OWN_TARGETS and chosen.get("target_modules") is None:
        replaced = chosen.get("target_parameters") or chosen.get("layers_to_transform") is not None
        if not replaced:
            chosen["target_modules"] = "all-linear"
    try:
        return own_class(**chosen)
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise InputError(f"method {name}: {error}") from error


def config_class(name: str) -> type:
    """PEFT's config class of a method.

    Raises:
        InputError: the method is unknown.
    """
    for member, found in PEFT_TYPE_TO_CONFIG_MAPPING.items():
        if _value(member).lower() == name:
            own_class: type = found
            return own_class
    raise _no_method(name)


def _no_method(name: str, others: Sequence[str] = ()) -> InputError:
    """What to tell of a name that no method has."""
    near = difflib.get_close_matches(name, [*known_methods(), *others], n=3)
    return InputError(f"method {name!r} is unknown{_hint(near)}; PEFT knows {', '.join(known_methods())}.")


def _unknown(name: str, field: str, known: list[str]) -> str:
    near = difflib.get_close_matches(field, known, n=3)
    return f"method {name}: field {field!r} is unknown{_hint(near)}; its fields are {', '.join(sorted(known))}."


def _hint(near: list[str]) -> str:
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _value(member: Any) -> str:
    return str(getattr(member, "value", member))


def with_head(model: nn.Module, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with a classifier's head among the modules that are trained in full, and not among the targets.

    Args:
        model: any model; one without a classification head keeps its fields.
        name: the method; one whose config has no such fields keeps them too.
        fields: fields of its PEFT config, which take precedence.
    """
    known = {field.name for field in dataclasses.fields(config_class(name))}
    return fields if "modules_to_save" not in known else {**head_fields(model, name, known), **fields}


def head_fields(model: nn.Module, name: str, known: Container[str]) -> dict[str, Any]:
    """The fields by which a method trains a classifier's head in full and does not adapt it.

    PEFT adds heads named `classifier` or `score` itself where a text is judged.
    """
    heads = head_names(model)
    if not heads:
        return {}
    judges_text = type(root_of(model)).__name__.endswith("ForSequenceClassification")
    added = judges_text and set(heads) <= {"classifier", "score"}
    fields: dict[str, Any] = {} if added else {"modules_to_save": heads}
    if judges_text:
        fields["task_type"] = "SEQ_CLS"
    if "exclude_modules" in known and name not in _OWN_TARGETS:
        fields["exclude_modules"] = rf"(.*\.)?({'|'.join(heads)})(\..*)?"
    return fields


def task_type(model: nn.Module) -> str | None:
    """PEFT's task type of a model that generates text; None for any other."""
    if not getattr(model, "can_generate", lambda: False)():
        return None
    return "SEQ_2_SEQ_LM" if getattr(model.config, "is_encoder_decoder", False) else "CAUSAL_LM"
