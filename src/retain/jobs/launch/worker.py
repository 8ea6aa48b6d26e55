"""One worker of a run: it asks the base, calibrates and trains with the other workers; the first of them writes.

Accelerate's launcher starts it as `python -m retain.jobs.launch.worker FOLDER SHARED`. It reads the recipe from the
run's folder and goes on only if all workers see the very run that stands there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import PartialState  # type: ignore[import-untyped]  # accelerate ships no types

from retain.activations.distributed import gathered, rank
from retain.errors import InputError, RetainError
from retain.events import SILENT, Event, Events
from retain.hf.models.describe import model_hash
from retain.interruption import interruptible
from retain.jobs.adapt import train_or_load
from retain.jobs.base_predictions import base_predictions
from retain.jobs.inputs.prepare import prepare
from retain.jobs.launch.together import first_process_first
from retain.jobs.launch.wire import Line, line_to_job
from retain.jobs.quiet import quiet_libraries
from retain.jobs.run import Run
from retain.recipe import Recipe
from retain.recipe.from_run import read_recipe
from retain.recipe.redact import secret_fields
from retain.records.manifest import file_digest
from retain.records.reading import read_json_mapping

WAITING = timedelta(days=7)
"""Time that a worker waits for the others: one that is gone is seen by the launcher, which ends them all."""

INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Do the share of one worker; what goes wrong is sent to the job.

    Args:
        arguments: the run's folder and the shared one.
    """
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"  # else all but the first worker load a base without weights
    with line_to_job(os.environ) as line:
        try:
            with interruptible():
                _work(Path(arguments[0]), Path(arguments[1]), line)
        except KeyboardInterrupt as interruption:
            line.send(interrupted=str(interruption))
            return INTERRUPTED
        except RetainError as error:
            problems = list(error.problems) if isinstance(error, InputError) else [str(error)]
            line.send(error="InputError" if isinstance(error, InputError) else type(error).__name__, problems=problems)
            return 1
        except Exception as error:  # noqa: BLE001 -- the job tells it; the log has its traceback
            traceback.print_exc()
            line.send(failed=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            return 1
        if rank() == 0:
            line.send(finished=True)
    return 0


def _work(folder: Path, shared: Path, line: Line) -> None:
    """Ask the base and train, together with the other workers."""
    use_cpu = os.environ.get("ACCELERATE_USE_CPU") == "true"
    PartialState(cpu=use_cpu, timeout=WAITING)  # the group of processes, and the device of this one
    with _warnings_to(line):
        run = _run(folder, shared, _events(line))
        with first_process_first():
            base = run.base()
        base_hash = model_hash(base)
        base_predictions(run, base, base_hash)
        train_or_load(run, base, base_hash)


def _run(folder: Path, shared: Path, events: Events) -> Run:
    """The run that a folder holds.

    Raises:
        InputError: the workers do not see the same one, or its data or model have changed since it was begun.
    """
    state = folder / "run.json"
    seen = gathered(file_digest(state) if state.is_file() else "nothing")
    if len(set(seen)) > 1:
        raise InputError(
            f"output: the processes see different files in {folder}; on several machines it must lie on storage that "
            "all of them share, under the same path."
        )
    recipe = Recipe.model_validate(read_recipe(folder)).model_copy(update={"output": str(folder)})
    run = Run.of(recipe, prepare(recipe, tried=True), events, shared)
    known, own = (_comparable(identity) for identity in (read_json_mapping(state), run.identity))
    differing = [name for name in dict.fromkeys([*known, *own]) if known.get(name) != own.get(name)]
    if trouble := [name for names in gathered(differing) for name in names]:
        named = ", ".join(dict.fromkeys(trouble))
        raise InputError(
            f"launch: a process found another run than {folder} holds (it differs in {named}): data or model were "
            "changed since it began, or are others on another machine."
        )
    return run


def _comparable(identity: dict[str, Any]) -> dict[str, Any]:
    """Both parts of an identity, without values that may hold a key."""
    secret = secret_fields(Recipe)
    return {name: value for part in identity.values() for name, value in part.items() if name not in secret}


def _events(line: Line) -> Events:
    """The progress of the first worker, sent to the job; that of the others is not shown."""
    if rank():
        return SILENT

    def tell(event: Event) -> None:
        line.send(event=[event.task, event.name, event.done, event.total])

    return Events(tell)


@contextlib.contextmanager
def _warnings_to(line: Line) -> Iterator[None]:
    """Send the first worker's own warnings to the job; those of libraries go to the log."""
    with warnings.catch_warnings():
        quiet_libraries()
        before = warnings.showwarning

        def show(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
            if rank() == 0 and category.__module__.startswith("retain"):
                line.send(warning=str(message), kind=category.__name__)
            else:
                before(message, category, *rest, **more)

        warnings.showwarning = show
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
