"""Any method by its name: PEFT's (ours among them), and SC-LoRA and its relatives, which need to be calibrated."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from torch import nn

from retain.errors import InputError
from retain.hf.adapters import attach as adapt
from retain.methods.sc_lora.attach import check_targets
from retain.methods.sc_lora.config import STARTS, SCLoRAConfig, without_effect


def known_methods() -> list[str]:
    """The names of all methods."""
    return sorted([*adapt.known_methods(), *STARTS])


def is_data_driven(name: str) -> bool:
    """Whether a method is SC-LoRA or one of its relatives: a LoRA that starts elsewhere than at 0."""
    return name in STARTS


def calibration(name: str) -> tuple[str, ...]:
    """The data that a method is calibrated on, of "learn" and "keep"; empty for most methods."""
    return STARTS.get(name, ())


def with_shared(name: str, fields: dict[str, Any], rank: int | None, beta: float | None, seed: int) -> dict[str, Any]:
    """The fields of a method with a recipe's rank, β and seed, where it has them and does not say them itself."""
    if name not in STARTS:
        return adapt.with_rank(name, fields, rank)
    shared = {
        "r": rank,
        "beta": beta if name == "sc-lora" else None,
        "seed": seed if name == "random-start" else None,
    }
    return {key: value for key, value in shared.items() if value is not None} | fields


def with_head(model: nn.Module, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a method with a classifier's head trained in full and not adapted; see `retain.hf.adapters.attach`."""
    if name not in STARTS:
        return adapt.with_head(model, name, fields)
    heads = adapt.head_fields(model, name, {field.name for field in dataclasses.fields(SCLoRAConfig)})
    return {**({"task_type": adapt.task_type(model)} if heads else {}), **heads, **fields}


def validate(name: str, fields: dict[str, Any]) -> list[str]:
    """What is wrong with a method's name or fields as far as it can be told without a model."""
    if name not in STARTS:
        near = difflib.get_close_matches(name, STARTS, n=1)
        problems = adapt.validate(name, fields)
        hint = f" Did you mean {near[0]}?" if near and name not in adapt.known_methods() else ""
        return [problem + hint for problem in problems]
    try:
        initialisation_config(name, fields)
    except InputError as error:
        return list(error.problems)
    return []


def initialisation_config(name: str, fields: dict[str, Any]) -> SCLoRAConfig:
    """The configuration of SC-LoRA or a relative.

    Raises:
        InputError: a field is unknown or out of its range.
    """
    hidden = {"start", *without_effect(name)}
    known = [field.name for field in dataclasses.fields(SCLoRAConfig) if field.name not in hidden]
    if unknown := [field for field in fields if field not in known]:
        raise InputError(
            [
                f"method {name}: field {field!r} is unknown; its fields are {', '.join(sorted(known))}."
                for field in unknown
            ]
        )
    try:
        return SCLoRAConfig(**{**fields, "start": name})
    except InputError as error:
        raise InputError([f"method {name}: {problem}" for problem in error.problems]) from error
    except TypeError as error:
        raise InputError(f"method {name}: {error}") from error


def check(model: nn.Module, name: str, fields: dict[str, Any]) -> None:
    """Try a method's targets on a model, which may be empty (meta device) and is corrupted by it.

    Raises:
        InputError: the method cannot be put on this model.
    """
    if name in STARTS:
        check_targets(model, initialisation_config(name, with_head(model, name, fields)))
    else:  # what a start computes from weights cannot be tried without them
        adapt.attach(model, name, {key: value for key, value in fields.items() if key != "init_lora_weights"})
