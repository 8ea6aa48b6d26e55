"""The runs of a comparison: each an ordinary run in `runs/NAME`, all on the same data."""

from __future__ import annotations

from pathlib import Path

from retain.events import SILENT
from retain.jobs.identity import run_names
from retain.jobs.inputs.prepare import prepare
from retain.jobs.run import Run
from retain.recipe import Recipe
from retain.records.recommended import kind_of

RUNS = "runs"
"""The folder of the runs, under the output."""


def runs_of(recipe: Recipe) -> list[Run]:
    """Prepare all runs of a comparison, once.

    Raises:
        InputError: with all problems of all runs.
    """
    prepared, output = prepare(recipe), Path(recipe.output)
    recipes = [run.of_kind(kind_of(prepared.data.family)) for run in recipe.runs()]
    places = [str(output / RUNS / name) for name in run_names(recipes)]
    single = [one.model_copy(update={"output": place}) for one, place in zip(recipes, places, strict=True)]
    return [Run.of(one, prepared, SILENT, shared=output) for one in single]
