"""Arguments of the Python functions: data as paths, names or rows in memory; a tokenizer or a processor; a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from retain.data.forms import parse_rows
from retain.data.lengths import too_long
from retain.data.preprocess import ImagePreprocessor, Preprocessor, TextPreprocessor
from retain.data.sources import checked_rows
from retain.errors import InputError
from retain.evaluate.suites.loading import as_suite
from retain.evaluate.suites.suite import Part, Suite, Suites
from retain.evaluate.tasks.table import known_forms, task_type_of_form
from retain.hf.models.positions import UNLIMITED, positions_of
from retain.jobs.inputs.given_settings import given_settings
from retain.jobs.inputs.gone_checks import gone_problems
from retain.jobs.inputs.read import distinct, read_held_out
from retain.recipe import Budget

Given = str | Path | Sequence[Mapping[str, Any]]
"""Data by path, suite name or data set id, or as rows in memory."""

Several = Given | Sequence[str | Path] | Mapping[str, Given] | None
"""Several suites, by their names where these are given."""


def given_budget(budget: Budget | Mapping[str, float]) -> Budget:
    """The budget, of a mapping too.

    Raises:
        InputError: it is no mapping, or a limit cannot be one.
    """
    if isinstance(budget, Budget):
        return budget
    if not isinstance(budget, Mapping):
        raise InputError(f"budget: {budget!r}; give limits by name, as {{'capitals': 2, 'kl': 0.1}}.")
    return Budget(budget)


def given_preprocessor(tokenizer: Any, processor: Any, fields: Mapping[str, Any], *models: Any) -> Preprocessor:
    """The preprocessor around a tokenizer or an image processor.

    Args:
        tokenizer: reads text.
        processor: reads images.
        fields: the settings that are given; `max_length` among them is a request by name.
        models: those that read what it makes; None is left out. Text goes beyond no position of any of them.

    Raises:
        InputError: neither or both were given, what is given as a model is none, or a model has no positions for
            `max_length`.
    """
    if no_models := [model for model in models if model is not None and not isinstance(model, nn.Module)]:
        found = ", ".join(repr(one) if isinstance(one, str | Path) else type(one).__name__ for one in no_models)
        raise InputError(
            f"model: {found} was given, and a loaded model is expected, as AutoModelForCausalLM.from_pretrained makes "
            "one; folders and hub ids are for the command line."
        )
    if (tokenizer is None) == (processor is None):
        raise InputError("give the base's tokenizer (models that read text) or its processor (images), one of them.")
    if tokenizer is None:
        return ImagePreprocessor(processor)
    positions = UNLIMITED
    for model in models:
        positions = positions if model is None else positions.shared_with(positions_of(model))
    max_length = given_settings(fields).max_length
    if "max_length" in fields and (problems := too_long(max_length, positions)):
        raise InputError(problems)
    return TextPreprocessor(tokenizer, max_length, positions)


def given_suites(
    test: Given | None,
    keep: Several,
    held_out_text: str | Path | Sequence[str | Path] | None,
    problems: list[str],
    gone: Several = None,
) -> Suites:
    """Suites of each part and held-out text, each where it is given; problems found are added."""
    found = [] if test is None else [_suite("task", test, "task", problems)]
    found += [_suite(name, data, "keep", problems) for name, data in _named("keep", keep)]
    found += [_suite(name, data, "gone", problems) for name, data in _named("gone", gone)]
    problems += gone_problems(found)
    texts = [held_out_text] if isinstance(held_out_text, (str, Path)) else list(held_out_text or ())
    return Suites(distinct(found, problems), read_held_out([str(source) for source in texts], problems))


def _named(part: Part, given: Several) -> list[tuple[str | None, Given]]:
    if given is None:
        return []
    if isinstance(given, Mapping):
        return list(given.items())
    if isinstance(given, (str, Path)):
        return [(None, given)]
    paths = [one for one in given if isinstance(one, (str, Path))]
    return [(None, path) for path in paths] if paths else [(part, given)]  # type: ignore[list-item]  # rows then


def _suite(name: str | None, data: Given, part: Part, problems: list[str]) -> Suite:
    if isinstance(data, (str, Path)):
        suite = as_suite(str(data), part, problems)
        return suite if name is None or part == "task" else replace(suite, name=name)
    label = name or part
    unread: list[str] = []
    placed = ((f"{label}, row {number}", dict(row)) for number, row in enumerate(data, 1))
    numbered = list(checked_rows(placed, unread))
    rows = parse_rows(label, numbered, problems, forms=known_forms(), unread=unread)
    return Suite(label, task_type_of_form(rows.form), part, rows.items, notes=rows.notes)
