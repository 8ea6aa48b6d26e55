"""The kinds of work that need models: a run of a comparison, a candidate of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from rich.console import Console

from retain.errors import InputError
from retain.events import Events
from retain.jobs.comparison_runs import runs_of
from retain.jobs.inputs.prepare import prepare
from retain.jobs.quiet import quiet_libraries
from retain.jobs.run import Run
from retain.jobs.state_files import key_of
from retain.jobs.sweep.open_session import open_session
from retain.jobs.sweep.session import Session
from retain.jobs.tune import complete
from retain.jobs.workers.unit import Setup, Unit
from retain.jobs.workers.work import Work
from retain.recipe import AdviseRecipe, Recipe
from retain.records.reading import parse_json

OTHER_FILES = (
    "on this machine the data, the model or retain itself differ from those where the command was given; give every "
    "machine the same files."
)


def work_of(setup: Setup) -> Work:
    """Prepare a recipe, and give what does its units.

    Raises:
        InputError: the recipe, its data or its model cannot be used here.
    """
    return _completes_runs(setup) if setup.kind == "run" else tries_candidates(setup)


def _completes_runs(setup: Setup) -> Work:
    runs = prepared_runs(setup.recipe)

    def complete_run(unit: Unit, events: Events) -> str:
        complete(checked(replace(runs[unit.number], events=events), unit))
        return ""

    return complete_run


def tries_candidates(setup: Setup, placed: Callable[[Run], Run] = lambda run: run) -> Work:
    """What tries the candidates of a sweep, on one base in this process.

    Args:
        setup: holds the recipe of the sweep.
        placed: says in which folder. [the sweep's own]
    """
    recipe = AdviseRecipe.model_validate_json(setup.recipe)
    opened: list[Session] = []

    def try_candidate(unit: Unit, events: Events) -> str:
        if not opened:
            opened.append(open_session(recipe, prepare(recipe), events, Console(quiet=True), placed))
        work, session = read_work(unit), opened[0]
        run = Recipe.model_validate(work["recipe"])
        if session.key_of(run) != work["key"]:
            raise InputError(OTHER_FILES)
        return session.bench.candidate(run, str(work["key"]), events).model_dump_json()

    return try_candidate


def read_work(unit: Unit) -> dict[str, Any]:
    """What a unit says of its candidate."""
    work = parse_json(unit.work, unit.name)
    return work if isinstance(work, dict) else {}


@lru_cache(maxsize=1)
def prepared_runs(recipe: str) -> list[Run]:
    """The runs of a comparison, prepared once in this process.

    Args:
        recipe: as JSON.
    """
    return runs_of(Recipe.model_validate_json(recipe))


def unit_of(number: int, run: Run) -> Unit:
    """A run of a comparison as a unit of work."""
    return Unit(number=number, name=run.folder.path.name, work=key_of(run.identity))


def checked(run: Run, unit: Unit) -> Run:
    """A run as this process prepared it, if it is the one that the command means.

    Raises:
        InputError: it is another one, since files differ between the machines.
    """
    if key_of(run.identity) != unit.work:
        raise InputError(OTHER_FILES)
    return run


def quiet() -> None:
    """Let libraries print errors only."""
    quiet_libraries()


def set_threads(threads: int) -> None:
    """Use so many threads."""
    torch.set_num_threads(threads)
