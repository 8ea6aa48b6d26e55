"""The beginning of a sweep: the base is loaded, its data are read, and all is hashed that its candidates share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from retain.evaluate.predictions import engine
from retain.events import Events
from retain.hf.models.describe import model_hash
from retain.hf.models.inference import device_of
from retain.jobs.calibrate import Calibration
from retain.jobs.inputs.prepare import Prepared
from retain.jobs.inputs.teachers import teacher_of
from retain.jobs.run import Run
from retain.jobs.state_files import key_of
from retain.jobs.sweep.bench import Bench
from retain.jobs.sweep.session import Session
from retain.jobs.sweep.sweep_data import KEEP_TOKENS, hold_out, read_sweep_data
from retain.recipe import AdviseRecipe, Recipe
from retain.recipe.marks import fields_where

SWEEP = "sweep"
"""The folder of a sweep's own files, under the output."""


def open_session(
    recipe: AdviseRecipe,
    given: Prepared,
    events: Events,
    console: Console,
    placed: Callable[[Run], Run] = lambda run: run,
) -> Session:
    """Load the base and read the data of a sweep.

    Args:
        recipe: of the sweep.
        given: its data, read.
        events: receives the progress.
        console: receives a line for each candidate.
        placed: says in which folder it is done. [`sweep` under the output]
    """
    learn, held = hold_out(given.data.train, recipe.sweep_items)
    prepared = Prepared(replace(given.data, train=learn), given.preprocessor)
    run = placed(Run.of(recipe, prepared, events, Path(recipe.output) / SWEEP))
    folder = run.shared
    base = run.base()
    weights = model_hash(base)
    few = recipe.model_copy(update={"calibrate_tokens": min(recipe.calibrate_tokens, KEEP_TOKENS)})
    job = Calibration.of(replace(run, recipe=few), base, weights)
    sweep_data = read_sweep_data(recipe, run.data, job, run.data.train, held)
    values = recipe.model_dump(mode="json", include=set(shared_fields()))
    asking = recipe.model_copy(update={"kl_weight": recipe.kl_weight or 1.0})  # a candidate may bring the penalty
    teacher = teacher_of(asking, run.data.family, run.data.labels)
    context = key_of(
        weights, sweep_data.key, run.preprocessor.identity(), engine(), device_of(base).type, recipe.sweep_steps,
        values, None if teacher is None else teacher.files,
    )  # fmt: skip
    bench = Bench(run, base, job, sweep_data, folder, recipe.sweep_steps)
    return Session(bench, context, weights, folder, console)


def shared_fields() -> tuple[str, ...]:
    """The fields that decide the training of every candidate of a sweep alike; what it brings itself is in its key."""
    parts = {"training", "initialisation", "text"}
    return fields_where(
        Recipe, lambda decides: decides.part in parts and not (decides.of_candidate or decides.by_method)
    )
