"""Any method by its name: PEFT's, ours among them, the data-driven initialisations of LoRA, and sparse updates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from retain.errors import InputError
from retain.hf.adapters import attach as adapt
from retain.hf.adapters.sparse import METHOD as SPARSE_TUNER
from retain.hf.adapters.sparse import sparsity_of
from retain.methods.initialisations.adapter import check_targets
from retain.methods.initialisations.config import SCLoRAConfig, without_effect
from retain.methods.sparse.config import SCORES, SparseConfig
from retain.methods.sparse.update import check_sparse_targets
from retain.methods.table import SPARSE, initialisations

_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


def known_methods() -> list[str]:
    """The names of all methods, sorted."""
    return sorted([*adapt.known_methods(), *initialisations(), SPARSE.name])


def config_class(name: str) -> type:
    """The class whose fields a method has.

    Raises:
        InputError: the method is unknown.
    """
    own: type | None = _own_config(name)
    return adapt.config_class(name) if own is None else own


def _own_config(name: str) -> type[SCLoRAConfig | SparseConfig] | None:
    """The class of a method that retain attaches itself; None for a method of PEFT's."""
    if name == SPARSE.name:
        return SparseConfig
    return SCLoRAConfig if name in initialisations() else None


def is_data_driven(name: str) -> bool:
    """Tell whether a method is a data-driven initialisation of LoRA."""
    return name in initialisations()


def is_sparse(name: str) -> bool:
    """Tell whether a method trains chosen entries of the weights."""
    return name == SPARSE.name


def calibration(name: str, fields: Mapping[str, Any] = _NO_FIELDS) -> tuple[str, ...]:
    """The texts that a method is calibrated on, of "learn" and "keep"; none for most methods.

    Args:
        name: the method.
        fields: its fields; those of a sparse update choose a score, which reads texts or does not.
    """
    if name == SPARSE.name:
        score = SCORES.get(fields.get("score", SparseConfig.score))
        return () if score is None else score.reads
    row = initialisations().get(name)
    return () if row is None else row.reads


def with_shared(name: str, fields: dict[str, Any], rank: int | None, beta: float | None, seed: int) -> dict[str, Any]:
    """The fields of a method with a recipe's rank, β and seed, where it has them and the fields do not set them."""
    if name == SPARSE.name:
        return {"seed": seed} | fields
    row = initialisations().get(name)
    if row is None:
        return adapt.with_rank(name, fields, rank)
    shared = {
        "r": rank,
        "beta": beta if "beta" in row.fields else None,
        "seed": seed if row.drawn else None,
    }
    return {key: value for key, value in shared.items() if value is not None} | fields


def with_head(model: nn.Module, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a method with a classifier's head trained in full and not adapted, as in `hf.adapters.attach`."""
    own = _own_config(name)
    if own is None:
        return adapt.with_head(model, name, fields)
    heads = adapt.head_fields(model, name, {field.name for field in dataclasses.fields(own)})
    return {**({"task_type": adapt.task_type(model)} if heads else {}), **heads, **fields}


def validate(name: str, fields: dict[str, Any]) -> list[str]:
    """The problems of a method's name or fields that can be found without a model, one sentence each."""
    if _own_config(name) is None:
        return adapt.validate(name, fields, others=[*initialisations(), SPARSE.name])
    try:
        own_config(name, fields)
    except InputError as error:
        return list(error.problems)
    return []


def initialisation_config(name: str, fields: dict[str, Any]) -> SCLoRAConfig:
    """The configuration of a data-driven initialisation.

    Raises:
        InputError: a field is unknown or out of its range.
    """
    config: SCLoRAConfig = own_config(name, fields)
    return config


def sparse_config(fields: dict[str, Any]) -> SparseConfig:
    """The configuration of a sparse update.

    Raises:
        InputError: a field is unknown or out of its range.
    """
    config: SparseConfig = own_config(SPARSE.name, fields)
    return config


def own_config(name: str, fields: dict[str, Any]) -> Any:
    """The configuration of a method that retain attaches itself: a data-driven initialisation, or a sparse update.

    Raises:
        InputError: a field is unknown or out of its range.
    """
    own: Any = _own_config(name)
    set_by_us = {} if name == SPARSE.name else {"initialisation": name}
    hidden = set() if name == SPARSE.name else {"initialisation", *without_effect(name)}
    known = [field.name for field in dataclasses.fields(own) if field.name not in hidden]
    if unknown := [field for field in fields if field not in known]:
        raise InputError(
            [
                f"method {name}: field {field!r} is unknown; its fields are {', '.join(sorted(known))}."
                for field in unknown
            ]
        )
    try:
        return own(**fields, **set_by_us)
    except InputError as error:
        raise InputError([f"method {name}: {problem}" for problem in error.problems]) from error
    except TypeError as error:
        raise InputError(f"method {name}: {error}") from error


def check(model: nn.Module, name: str, fields: dict[str, Any]) -> nn.Module:
    """Try a method's targets on a model, which may be empty (meta device) and is of no use afterwards.

    Returns:
        The model with adapters where the method puts them, to ask what they cover; their values mean nothing.

    Raises:
        InputError: the method cannot be attached to this model.
    """
    if name in initialisations():
        layers = check_targets(model, initialisation_config(name, with_head(model, name, fields)))
        name, fields = "lora", {"r": 1, "target_modules": sorted(layers)}
    elif name == SPARSE.name:
        config = sparse_config(with_head(model, name, fields))
        saved = {} if config.modules_to_save is None else {"modules_to_save": config.modules_to_save}
        chosen = {"target_modules": list(check_sparse_targets(model, config)), "sparsity": sparsity_of(config.density)}
        name, fields = SPARSE_TUNER, {**saved, **chosen}
    # An initialisation from weights cannot be tried without them.
    adapted: nn.Module = adapt.attach(model, name, {k: v for k, v in fields.items() if k != "init_lora_weights"})
    return adapted
