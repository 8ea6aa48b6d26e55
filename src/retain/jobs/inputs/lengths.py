"""The positions that all models of a recipe have, and what a recipe's lengths come to on them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from retain.data.family import modality_of
from retain.data.lengths import too_long
from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.table import task_type_of
from retain.hf.adapters.folder import is_adapter
from retain.hf.models.positions import UNLIMITED, Positions, positions_of, virtual_tokens
from retain.jobs.inputs.models import ModelSpec
from retain.recipe import MeasurementOptions, TunedModelOptions
from retain.records.paths import expanded
from retain.records.reading import read_json_mapping


def positions_for(recipe: MeasurementOptions, spec: ModelSpec) -> Positions:
    """The positions of a recipe's base, and of its tuned model where it names one; virtual tokens are counted off.

    Args:
        recipe: names the models, and the length.
        spec: of the base.

    Raises:
        InputError: a model has no positions for the length that the recipe states; or it cannot be loaded.
    """
    positions = base_positions(spec)
    if isinstance(recipe, TunedModelOptions) and modality_of(spec.family) == "text":
        if is_adapter(recipe.tuned):
            positions = positions.without(virtual_tokens(_adapter_config(recipe.tuned)))
        else:
            positions = positions.shared_with(positions_of(spec.at(recipe.tuned, "tuned").empty()))
    if problems := stated_problems(recipe, positions):
        raise InputError(problems)
    return positions


def base_positions(spec: ModelSpec) -> Positions:
    """The positions of a model; one that reads images has none to count."""
    return positions_of(spec.empty()) if modality_of(spec.family) == "text" else UNLIMITED


def stated_problems(recipe: MeasurementOptions, positions: Positions) -> list[str]:
    """A refusal of a length that the recipe states and the model cannot read; a default is lowered instead."""
    return too_long(recipe.max_length, positions) if "max_length" in recipe.model_fields_set else []


def writing_problems(preprocessor: Preprocessor, suites: Sequence[Suite], settings: Settings) -> list[str]:
    """A sentence for each suite whose answers are longer than the model has positions."""
    problems = []
    for suite in suites:
        try:
            preprocessor.room(task_type_of(suite).written_tokens(suite, settings))
        except InputError as error:
            problems += [f"{suite.name}: {problem}" for problem in error.problems]
    return problems


def _adapter_config(folder: str) -> dict[str, Any]:
    """The configuration of an adapter in a folder; nothing of one that is not on this machine or is damaged."""
    with contextlib.suppress(InputError):  # `load_adapter` says what is wrong with it
        return read_json_mapping(expanded(folder) / "adapter_config.json")
    return {}
