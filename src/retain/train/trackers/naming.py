"""The names under which trackers show a run."""

from __future__ import annotations

import re
from pathlib import Path

from retain.recipe import Recipe
from retain.train.trackers.tracker import RunName

PROJECT = "retain"
"""Project (or experiment) of a run that is no part of a comparison."""


def name_of_run(recipe: Recipe, directory: Path) -> RunName:
    """The names under which trackers show a run: its folder's; in a comparison, the project is that of the output.

    Args:
        recipe: of one run; `training.run_name` and `training.project` come first.
        directory: the run's folder, `OUTPUT/runs/METHOD-lrRATE-seedSEED` in a comparison.
    """
    place = directory.resolve()
    kind = re.escape(recipe.method_name) + "(-[0-9a-f]{6})?" + re.escape(f"-lr{recipe.rate:g}-seed{recipe.seed}")
    is_compared = place.parent.name == "runs" and re.fullmatch(kind, place.name) is not None
    given = recipe.training.get("run_name")
    name = "-".join(filter(None, (given, place.name if is_compared or not given else "")))
    project = recipe.training.get("project") or (place.parent.parent.name if is_compared else "") or PROJECT
    return RunName(run=name, project=str(project), is_compared=is_compared)
