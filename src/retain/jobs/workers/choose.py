"""The executor that a recipe asks for: this process, processes of this machine, or a Ray cluster."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from retain.jobs.workers.executor import Executor, InThisProcess, Listener, Told
from retain.jobs.workers.local import LocalWorkers, shared_threads, visible_gpus
from retain.jobs.workers.unit import Kind, Setup
from retain.jobs.workers.work import Work
from retain.recipe import Recipe


def setup_of(kind: Kind, recipe: Recipe) -> Setup:
    """What the workers of a command are told."""
    return Setup(
        kind=kind,
        recipe=recipe.model_dump_json(exclude_unset=True),
        command=tuple(sys.argv),
        folder=str(Path.cwd()),
        threads=recipe.cpus_per_run,
    )


def executor_for(
    recipe: Recipe, setup: Setup, units: int, here: Work, listen: Listener, told: Told
) -> AbstractContextManager[Executor]:
    """What does the units of a recipe.

    Args:
        recipe: says where, and with how many threads and GPUs.
        setup: what workers are told.
        units: how many units there are.
        here: does a unit in this process.
        listen: is told how far a unit is.
        told: is told of what happens meanwhile, in sentences.

    Raises:
        InputError: there is no such cluster, or it cannot do them.
    """
    if recipe.ray is not None:
        from retain.jobs.workers.on_ray import RayWorkers  # noqa: PLC0415 -- an extra

        return RayWorkers(recipe, setup, listen, told)
    if recipe.workers is None:
        if setup.threads is not None:
            torch.set_num_threads(setup.threads)
        return InThisProcess(here, listen)
    places = min(recipe.workers, units)
    threads = setup.threads or shared_threads(places)
    gpus = visible_gpus(torch.cuda.device_count())
    return LocalWorkers(setup.model_copy(update={"threads": threads}), places, listen, told, gpus)
