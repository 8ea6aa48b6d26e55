"""A recipe checked before anything is trained: data read, model examined, all problems reported at once."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from retain.data.near_duplicates import INSTALL
from retain.data.preprocess import Preprocessor
from retain.errors import InputError, RetainError
from retain.evaluate.tasks.table import task_type_of
from retain.evaluate.tasks.task_type import first_refusal
from retain.jobs.inputs.data import Data
from retain.jobs.inputs.evidence_told import no_step_problems
from retain.jobs.inputs.method_checks import field_problems, rank_told, unmatched_names, unread_fields
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.inputs.read import read_data, settings_of
from retain.jobs.run_folder import output_problem
from retain.methods import lookup
from retain.recipe import Recipe
from retain.train.arguments import try_settings


class Prepared(NamedTuple):
    """The data of a recipe, and what makes the inputs of its model."""

    data: Data
    preprocessor: Preprocessor


def adapter_fields(run: Recipe) -> dict[str, Any]:
    """The fields of a run's method, the recipe's rank and β among them where the method has them."""
    return lookup.with_shared(run.method_name, run.method_fields, run.rank, run.beta, run.seed)


def prepare(recipe: Recipe) -> Prepared:
    """Check a recipe and read its data; for a comparison, check every run of it.

    Raises:
        InputError: with all problems of recipe, data and model.
    """
    problems: list[str] = []
    data = read_data(recipe, problems)
    runs = list({run.method_key: run for run in recipe.runs()}.values())
    for run in runs:
        problems += _method_problems(run)
    if recipe.statistics is not None and not Path(recipe.statistics).expanduser().is_dir():
        problems.append(f"statistics: there is no folder {recipe.statistics}; make it with retain calibrate.")
    problems += _raised(try_settings, runs[0])
    drops_last = recipe.training.get("dataloader_drop_last") is True
    problems += no_step_problems(len(data.train), recipe.batch_size, drops_last=drops_last)
    problems += output_problem(Path(recipe.output))
    if len(data.suites.task_items) == 1:
        problems.append(f"{recipe.test}: one held-out item has no interval; give at least two.")
    spec = ModelSpec.of(recipe, data.family, data.labels)
    if problems:  # targets and templates can only be judged once methods and data can be read
        raise InputError([*problems, *_raised(spec.empty)])
    preprocessor = spec.preprocessor()
    found, positions = _target_problems(spec, runs)
    if preprocessor.reads_text:
        found += _length_problems(recipe, preprocessor, data, positions)
        found += _template_problems(recipe, preprocessor, data) if data.family == "causal-lm" else []
    if found:
        raise InputError(list(dict.fromkeys(found)))
    return Prepared(data, preprocessor)


def _method_problems(run: Recipe) -> list[str]:
    """The problems of a run's method that can be found without a model."""
    if run.method_name == "full":
        return []
    fields = adapter_fields(run)
    if run.method_name in lookup.known_methods() and (problems := field_problems(run.method_name, fields)):
        return problems
    return lookup.validate(run.method_name, fields)


def _target_problems(spec: ModelSpec, runs: Sequence[Recipe]) -> tuple[list[str], int | None]:
    """The methods that cannot be put on the model, one sentence each; and how many positions the model has.

    Raises:
        InputError: the model cannot be loaded.
    """
    problems, positions = [], None
    for run in runs:
        model = spec.empty()
        positions = getattr(model.config, "max_position_embeddings", None)
        if run.method_name != "full":
            fields = adapter_fields(run)
            unmatched = unmatched_names(model, run.method_name, fields)
            problems += unmatched or _raised(lookup.check, model, run.method_name, fields)
    return problems, positions


def _length_problems(recipe: Recipe, preprocessor: Preprocessor, data: Data, positions: int | None) -> list[str]:
    """A sentence for each part with an example that cannot be encoded, or that has more tokens than positions."""
    if data.family != "causal-lm":
        if not positions or recipe.max_length <= positions:
            return []
        return [f"max_length: this model has only {positions} positions; say --max-length {positions}."]
    longest = 0

    def encode(item: Any) -> None:
        nonlocal longest
        longest = max(longest, *(len(row.ids) for row in preprocessor.encode([item])))

    problems = first_refusal("train", data.train, encode)
    problems += first_refusal("test", [item for item in data.suites.task_items if item.trains == data.family], encode)
    if positions and longest > positions:
        problems.append(
            f"max_length: the longest example has {longest} tokens, but this model only {positions} positions; "
            f"say --max-length {positions}."
        )
    return problems


def _template_problems(recipe: Recipe, preprocessor: Preprocessor, data: Data) -> list[str]:
    """A sentence for each retention suite whose items the tokenizer refuses."""
    settings = settings_of(recipe)
    return [
        problem
        for suite in data.everything.of("keep")
        for problem in task_type_of(suite).tokenizer_problems(suite, preprocessor.tokenizer, settings)
    ]


def _raised(function: Any, *arguments: Any) -> list[str]:
    """The problems that a call raises; none where it succeeds."""
    try:
        function(*arguments)
    except InputError as error:
        return list(error.problems)
    except RetainError as error:
        return [str(error)]
    return []


def fields_told(recipe: Recipe, prepared: Prepared) -> list[str]:
    """Sentences on fields that no run reads, and on ranks that no layer can use."""
    spec = ModelSpec.of(recipe, prepared.data.family, prepared.data.labels)
    runs = {run.method_key: run for run in recipe.runs() if run.method_name != "full"}.values()
    told = [sentence for run in runs for sentence in rank_told(spec.empty(), run.method_name, adapter_fields(run))]
    return [*unread_fields(recipe), *dict.fromkeys(told)]


def truncations(recipe: Recipe, prepared: Prepared) -> list[str]:
    """A sentence for each part of the data in which some items are longer than `max_length` and will be cut."""
    data, preprocessor = prepared
    found = []
    for name, items in (("train", data.train), ("test", data.suites.task_items)):
        if cut := preprocessor.truncated(items):
            found.append(f"{name}: {cut} of {len(items)} are longer than {recipe.max_length} tokens and will be cut.")
    return found


def near_duplicates(data: Data) -> list[str]:
    """A sentence for each part of the data that the training data nearly repeat, or that this was not looked for."""
    if importlib.util.find_spec("datasketch") is None:
        return [f"near-duplicates of training items were not looked for: datasketch is not installed; {INSTALL}"]
    return data.near_duplicates
