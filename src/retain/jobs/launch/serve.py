"""The machines of a run beside the first: they serve its stages with their share of workers, and write nothing."""

from __future__ import annotations

from pathlib import Path

from retain.errors import InputError
from retain.events import Events
from retain.jobs.launch.plan import Plan
from retain.jobs.launch.stage import run_stages
from retain.jobs.run_folder import RunFolder
from retain.recipe import Recipe


def only_serves(recipe: Recipe) -> bool:
    """True if this machine is not the one that the run is done on.

    Raises:
        InputError: the processes cannot be started as asked.
    """
    return recipe.is_launched and Plan.of(recipe).machine_rank > 0


def serve(recipe: Recipe, events: Events) -> str:
    """Wait for the run of the first machine, and do this machine's share of its stages.

    Args:
        recipe: that of the first machine, with another `launch.machine_rank`.
        events: receives the progress.

    Returns:
        A sentence on what was done.

    Raises:
        InputError: the workers refuse the run, as they see it from here.
        RetainError: a worker failed, or the first machine was waited for in vain.
    """
    plan, folder = Plan.of(recipe), RunFolder(Path(recipe.output))

    def is_over() -> bool:
        try:
            return folder.training() is not None
        except InputError:  # the first machine says what is wrong with it
            return True

    if is_over():
        return f"nothing to do: the training in {folder.path} is complete."
    task = events.task(f"machine {plan.machine_rank} of {plan.machines} serves the run on machine 0")
    run_stages(recipe, folder.path, folder.path, events, plan, is_over)
    task.update(done=1, total=1)
    return f"machine {plan.machine_rank} did its share of the run in {folder.path}; the result is told on machine 0."
