"""Load a saved adapter onto the base that it was trained on, and refuse any other, in words that name the fault."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from retain.errors import InputError, RetainError, sentence
from retain.hf.adapters.accounting import (
    Accounting,
    accounting,
    name_problems,
    pattern_problems,
    tensor_problems,
    value_problems,
)
from retain.hf.adapters.card import hub_id
from retain.hf.adapters.config_file import read_config, size_problems
from retain.hf.adapters.folder import Stored, adapter_folder, stored_tensors
from retain.hf.adapters.initialise import read_note, restore_initialised
from retain.hf.adapters.origin import check_origin
from retain.hf.adapters.sparse_layer import take_sparse_form
from retain.hf.adapters.told_lora import tell_merge_loss
from retain.hf.models.given import ensure_model
from retain.hf.models.placement import offloaded, stand_ins
from retain.hf.models.sides import is_adapted, note_replaced
from retain.hf.models.vocabulary import rows_in_file, rows_of

_WRAPPERS = (BaseTunerLayer, AuxiliaryTrainingWrapper)


def load_adapter(base: nn.Module, path: str | Path, *, trainable: bool = False) -> PeftModel:
    """Load a saved adapter of any PEFT method onto its base model.

    Every tensor of the file must have its place in the model, and every place its tensor. Where retain wrote the
    adapter, its files and its base must be those of then.

    Args:
        base: the model that the adapter was trained on. It is adapted in place; where the adapter is refused, it comes
            back without it.
        path: a folder with an adapter, or a hub id.
        trainable: leave it trainable, to go on training.

    Returns:
        The model with the adapter, in evaluation mode unless trainable.

    Raises:
        InputError: the folder holds no adapter, its method is unknown, it is damaged, or it is not of this model.

    Examples:
        >>> loaded = retain.load_adapter(base, "runs/first/adapter", trainable=True)
        >>> loaded.active_adapter
        'default'
    """
    base = ensure_model(base, "base")
    if is_adapted(base):
        raise InputError(
            f"{path}: this model carries adapters already; give the base alone, loaded anew, or put another adapter "
            "beside those with PEFT's model.load_adapter."
        )
    folder = adapter_folder(path)
    values, stored, note = read_config(folder), stored_tensors(folder), read_note(folder)
    if problems := [*size_problems(values, stored), *_vocabulary_problem(base, stored)]:
        raise InputError([sentence(f"{path}: {problem}") for problem in problems])
    check_origin(folder, base)
    trains = [(parameter, parameter.requires_grad) for parameter in base.parameters()]
    try:
        with accounting(base) as account:
            model = _loaded(base, folder, path, trainable=trainable)
        _check(model, path, stored, account)
        if note is not None:
            restore_initialised(model, "default", note)
        tell_merge_loss(model)
        take_sparse_form(model)
    except BaseException:
        _take_off(base)
        for parameter, wanted in trains:
            parameter.requires_grad_(wanted)
        raise
    if account.overwritten:
        note_replaced(base, f"{path} brings {', '.join(account.overwritten[:3])} of its own in place of the base's")
    return model


def name_notes(model: PeftModel) -> list[str]:
    """A note where an adapter's configuration names another base, by its hub id, than the one that it stands on.

    Args:
        model: with the adapter.
    """
    named = hub_id(model.active_peft_config.base_model_name_or_path)
    given = hub_id(getattr(getattr(model.get_base_model(), "config", None), "_name_or_path", None))
    if named is None or given is None or named == given:
        return []
    told = f"The adapter says that it was trained on {named}; it was put on {given}."
    return [f"{told} Its figures mean little unless the two are the same model."]


def _loaded(base: nn.Module, folder: Path, path: str | Path, *, trainable: bool) -> PeftModel:
    """The model as PEFT loads it.

    Raises:
        InputError: PEFT cannot load the adapter.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with _placed_by_us(base):
                model = PeftModel.from_pretrained(base, str(folder), is_trainable=trainable)
    except RetainError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(f"{path}: this adapter cannot be loaded onto this model: {_brief(error)}") from error
    for (
        warning
    ) in caught:  # what is missing in the file is told below, and what a library will rename is its own affair
        if "missing adapter keys" not in str(warning.message) and not issubclass(warning.category, FutureWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return model


def _check(model: PeftModel, path: str | Path, stored: dict[str, Stored], account: Accounting) -> None:
    """Refuse an adapter that is not of this model.

    Raises:
        InputError: with all that was found.
    """
    misplaced = tensor_problems(model, stored, account)
    named = name_problems(model) if misplaced else []
    problems = [*misplaced, *named, *pattern_problems(model), *value_problems(model)]
    if problems:
        raise InputError([f"{path}: {problem}. Give the base that it was trained on." for problem in problems])


def _vocabulary_problem(base: nn.Module, stored: dict[str, Stored]) -> list[str]:
    """A sentence where an adapter brings embeddings of more or fewer tokens than the model has."""
    brought, own = rows_in_file(base, stored), rows_of(base)
    if brought is None or own is None or brought == own:
        return []
    cure = f"call model.resize_token_embeddings({brought}) before it is loaded (retain measure does so itself)"
    return [f"this adapter was trained with {brought} tokens, and this model has embeddings of {own}; {cure}"]


def _take_off(base: nn.Module) -> None:
    """Take what a failed load put into a model out of it again."""
    while found := next((pair for pair in base.named_modules() if isinstance(pair[1], _WRAPPERS)), None):
        name, module = found  # the outermost comes first
        original = module.original_module if isinstance(module, AuxiliaryTrainingWrapper) else module.base_layer
        setattr(base.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], original)
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        base.__dict__.pop(attribute, None)


@contextmanager
def _placed_by_us(base: nn.Module) -> Iterator[None]:
    """Let PEFT load beside offloaded weights as beside any: its own way takes all hooks off and spreads the model anew.

    That loses the values of adapters beside weights on disk, and where the user wanted the layers.
    """
    held: dict[str, Any] = base.__dict__
    places = held.pop("hf_device_map", None) if offloaded(base) else None
    try:
        with stand_ins(base):
            yield
    finally:
        if places is not None:
            held["hf_device_map"] = places


def _brief(error: Exception) -> str:
    """The first lines of an error, in one; torch lists every layer."""
    lines = [line.strip() for line in (str(error) or type(error).__name__).splitlines()]
    text = " ".join(lines[:2]) + (" …" if len(lines) > 2 else "")
    return f"there is no {text} in it" if isinstance(error, KeyError) else text
