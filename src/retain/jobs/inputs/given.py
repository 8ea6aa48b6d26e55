"""Arguments of the Python functions: data as paths, names or rows in memory; a tokenizer or a processor; a budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from retain.data.forms import DEFAULT_FORM, parse_rows
from retain.data.lengths import too_long
from retain.data.preprocess import ImagePreprocessor, Preprocessor, TextPreprocessor
from retain.data.sources import checked_rows
from retain.errors import InputError, sentence
from retain.evaluate.suites.loading import NAMED, as_suite
from retain.evaluate.suites.suite import Part, Suite, Suites
from retain.evaluate.tasks.table import known_forms, task_type_of_form
from retain.hf.models.given import tokenizer_of
from retain.hf.models.positions import UNLIMITED, positions_of
from retain.jobs.inputs.given_rows import NotRowsError, are_columns, plain, rows_in_memory
from retain.jobs.inputs.given_settings import given_settings
from retain.jobs.inputs.gone_checks import gone_problems
from retain.jobs.inputs.read import distinct, read_held_out
from retain.recipe import Budget

Given = str | Path | Iterable[Mapping[str, Any]]
"""Data by path, suite name or data set id, or as rows in memory, also those of a DataFrame."""

Several = Given | Iterable[str | Path] | Mapping[str, Given] | None
"""Several suites, by their names where these are given."""

Texts = str | Path | Sequence[str | Path] | Mapping[str, str | Path] | None
"""Paths of held-out texts, by their domains where these are given."""

LONGEST_PATH = 1024
"""More characters than a path has."""


def given_budget(budget: Budget | Mapping[str, float]) -> Budget:
    """The budget, of a mapping too.

    Raises:
        InputError: it is no mapping, or a limit cannot be one.
    """
    return budget if isinstance(budget, Budget) else Budget(budget)


def given_preprocessor(tokenizer: Any, processor: Any, fields: Mapping[str, Any], *models: Any) -> Preprocessor:
    """The preprocessor around a tokenizer or an image processor.

    Args:
        tokenizer: reads text.
        processor: reads images.
        fields: the settings that are given; `max_length` among them is a request by name.
        models: those that read what it makes; None is left out. Text goes beyond no position of any of them.

    Raises:
        InputError: neither or both were given, what is given as a model is none or without weights, or a model has no
            positions for `max_length`.
    """
    if no_models := [one for one in models if one is not None and not _is_model(one)]:
        found = ", ".join(repr(one) if isinstance(one, str | Path) else type(one).__name__ for one in no_models)
        raise InputError(
            f"model: {found} was given, and a loaded model is expected, as AutoModelForCausalLM.from_pretrained makes "
            "one (of one that is wrapped, what is within); folders and hub ids are for the command line."
        )
    if any(_is_empty(one) for one in models if one is not None):
        raise InputError(
            "model: its weights are not there (they are on the device meta, which holds none); load it with them, as "
            "AutoModelForCausalLM.from_pretrained does."
        )
    if (tokenizer is None) == (processor is None):
        raise InputError("give the base's tokenizer (models that read text) or its processor (images), one of them.")
    reader = tokenizer if processor is None else processor
    if isinstance(reader, str | Path):
        raise InputError(
            f"{'tokenizer' if processor is None else 'processor'}: {str(reader)!r} was given, and a loaded one is "
            "expected, as AutoTokenizer.from_pretrained or AutoImageProcessor.from_pretrained makes one."
        )
    if isinstance(processor, PreTrainedTokenizerBase):
        raise InputError("processor: a tokenizer was given, which reads text; give it as tokenizer=….")
    if tokenizer is None:
        return ImagePreprocessor(getattr(processor, "image_processor", processor))
    tokenizer = tokenizer_of(tokenizer)
    positions = UNLIMITED
    for model in models:
        positions = positions if model is None else positions.shared_with(positions_of(model))
    max_length = given_settings(fields).max_length
    if "max_length" in fields and (problems := too_long(max_length, positions)):
        raise InputError(problems)
    return TextPreprocessor(tokenizer, max_length, positions)


def _is_model(given: Any) -> bool:
    return isinstance(given, nn.Module) and hasattr(given, "config")


def _is_empty(model: nn.Module) -> bool:
    """True for weights on the device meta that no hook of Accelerate's fetches from memory or disk."""
    fetched = any(hasattr(module, "_hf_hook") for module in model.modules())
    return not fetched and any(parameter.device.type == "meta" for parameter in model.parameters())


def given_suites(
    test: Given | None,
    keep: Several,
    held_out_text: Texts,
    problems: list[str],
    gone: Several = None,
) -> Suites:
    """Suites of each part and held-out text, each where it is given; problems found are added."""
    found = [] if test is None else [_suite("task", test, "task", problems)]
    found += [_suite(name, data, "keep", problems) for name, data in _named("keep", keep)]
    found += [_suite(name, data, "gone", problems) for name, data in _named("gone", gone)]
    problems += gone_problems(found)
    return Suites(distinct(found, problems), read_held_out(_texts(held_out_text, problems), problems))


def _texts(given: Texts, problems: list[str]) -> list[str]:
    """The sources of held-out texts; one that is a text itself is a problem."""
    if isinstance(given, Mapping):
        given = [f"{name}{NAMED}{source}" for name, source in given.items()]
    sources = [str(source) for source in ([given] if isinstance(given, (str, Path)) else given or ())]
    if own := [source for source in sources if "\n" in source or len(source) > LONGEST_PATH]:
        problems.append(f"held_out_text: {own[0][:40]!r}… is text, and paths are expected; write it into a file.")
        return []
    return sources


def _named(part: Part, given: Several) -> list[tuple[str | None, Given]]:
    if given is None:
        return []
    if isinstance(given, Mapping) and not are_columns(given):
        return list(given.items())
    if isinstance(given, (str, Path)):
        return [(None, given)]
    listed: Any = given
    with suppress(NotRowsError):  # told where the rows are read
        listed = rows_in_memory(given)
    several = isinstance(listed, list) and any(isinstance(one, (str, Path)) for one in listed)
    return [(None, one) for one in listed] if several else [(part, listed)]


def _suite(name: str | None, data: Any, part: Part, problems: list[str]) -> Suite:
    if isinstance(data, (str, Path)):
        suite = as_suite(str(data), part, problems)
        return suite if name is None or part == "task" else replace(suite, name=name)
    label = name or part
    try:
        found = rows_in_memory(data, "test" if part == "task" else None)
    except NotRowsError as error:
        problems.append(sentence(f"{label}: {error}"))
        return Suite(label, task_type_of_form(DEFAULT_FORM), part, ())
    unread: list[str] = []
    placed = ((f"{label}, row {number}", plain(row)) for number, row in enumerate(found, 1))
    numbered = list(checked_rows(placed, unread))
    rows = parse_rows(label, numbered, problems, forms=known_forms(part), unread=unread)
    return Suite(label, task_type_of_form(rows.form), part, rows.items, notes=rows.notes)
