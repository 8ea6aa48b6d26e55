"""The runs of a comparison: each an ordinary run in `runs/NAME`, all on the same data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from retain.events import SILENT
from retain.jobs.identity import run_names
from retain.jobs.inputs.prepare import Prepared, prepare
from retain.jobs.run import Run
from retain.recipe import Recipe
from retain.records.recommended import kind_of
from retain.report.write import holding_problem

RUNS = "runs"
"""The folder of the runs, under the output."""


def runs_of(recipe: Recipe, prepared: Prepared | None = None) -> list[Run]:
    """Prepare all runs of a comparison, once.

    Args:
        recipe: of the comparison.
        prepared: its data and model, where they were prepared already.

    Raises:
        InputError: with all problems of all runs.
    """
    prepared, output = prepared or prepare(recipe), Path(recipe.output)
    recipes = [run.of_kind(kind_of(prepared.data.family)) for run in recipe.runs()]
    places = [str(output / RUNS / name) for name in run_names(recipes)]
    single = [one.model_copy(update={"output": place}) for one, place in zip(recipes, places, strict=True)]
    return [Run.of(one, prepared, SILENT, shared=output) for one in single]


def conflicts_of(recipe: Recipe, runs: Iterable[Run]) -> list[str]:
    """A sentence for each reason why a comparison cannot be written where its recipe says."""
    found = (run.conflict() for run in runs)
    return [*holding_problem(recipe.output, ["run.json", "result.json"]), *(one for one in found if one)]


def planned_conflicts(recipe: Recipe, prepared: Prepared) -> list[str]:
    """The same before anything is run: of a comparison, or of a recipe for one run.

    Of data that were read in part only it is said whether the folder holds something else, not whether another run.
    """
    if len(recipe.runs()) > 1:
        return conflicts_of(recipe, [] if prepared.data.sample else runs_of(recipe, prepared))
    run = Run.of(recipe.single(), prepared, SILENT)
    found = run.folder.in_the_way() if prepared.data.sample else run.conflict()
    return [found] if found else []
