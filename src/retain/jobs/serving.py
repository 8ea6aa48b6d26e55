"""What servers will do with what a run delivers: told before it is trained, and of what was delivered in the end."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from retain.errors import RetainError
from retain.exporting.servers.judge import Judgement, judge
from retain.exporting.servers.open_served import open_served, vocabulary_of
from retain.exporting.servers.served import Header, Served, Vocabulary
from retain.exporting.servers.words import short
from retain.hf.adapters.planned import planned_config, planned_tensors
from retain.jobs.inputs.prepare import adapter_fields
from retain.methods import lookup
from retain.recipe import Recipe
from retain.records.paths import expanded, is_path

PLANNED = "ADAPTER"
"""Stands in commands for the folder that a run will write."""


def planned(run: Recipe, structure: Any) -> Served:
    """The adapter that a run would deliver, or its model, as far as servers look at it.

    Args:
        run: a single run.
        structure: its model without weights; it is not changed.
    """
    place = expanded(run.model)
    own = vocabulary_of(place) if place.is_dir() else None
    whole = ("model.safetensors", "tokenizer.json")
    config = structure.config.to_dict()
    if run.method_name == "full":
        return Served("MODEL", "model", config=config, files=whole, own=own or Vocabulary())
    fields = adapter_fields(run)
    adapted = lookup.check(copy.deepcopy(structure), run.method_name, fields)
    values = planned_config(adapted)
    headers = {name: Header(shape, dtype) for name, (shape, dtype) in planned_tensors(adapted).items()}
    if lookup.is_data_driven(run.method_name):
        rank = 2 * lookup.initialisation_config(run.method_name, fields).r
        values |= {"r": rank, "lora_alpha": rank}
        headers = {name: _of_rank(name, one, rank) for name, one in headers.items()}
    return Served(
        PLANNED,
        "adapter",
        config={**values, "base_model_name_or_path": run.model},
        tensors=headers,
        files=("adapter_config.json", "adapter_model.safetensors"),
        base_name=run.model,
        base_place="folder" if is_path(run.model) or place.is_dir() else "hub id",
        base=config,
        base_own=own,
    )


def _of_rank(name: str, header: Header, rank: int) -> Header:
    if "lora_A" in name:
        return header._replace(shape=(rank, *header.shape[1:]))
    return header._replace(shape=(header.shape[0], rank, *header.shape[2:])) if "lora_B" in name else header


def planned_judgements(recipe: Recipe, structure: Any) -> list[tuple[str, list[Judgement]]]:
    """What the servers of a recipe would do with each of its methods; none where it names no server."""
    if not recipe.serve:
        return []
    runs = list({run.method_key: run for run in recipe.runs()}.values())
    return [(run.method_name, judge(planned(run, structure), recipe.serve)) for run in runs]


def delivered_told(recipe: Recipe, folder: Path | None) -> list[str]:
    """Sentences on what the servers of a recipe do with what its run delivered."""
    if not recipe.serve or folder is None:
        return []
    try:
        found = judge(open_served(str(folder)), recipe.serve)
    except RetainError as error:
        return [f"serving was not looked at: {error}"]
    told = [sentence for one in found for sentence in short(one)]
    return [sentence.replace(str(folder), folder.name) for sentence in told]  # no path of this machine in a record
