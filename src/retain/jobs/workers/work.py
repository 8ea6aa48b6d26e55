"""The work of a worker: each process prepares a recipe once, and does as many of its units as it is given."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable
from functools import lru_cache

from retain.errors import InputError
from retain.events import Events
from retain.interruption import raise_if_interrupted
from retain.jobs.failure import sentence_on
from retain.jobs.workers.unit import Outcome, Setup, Unit
from retain.records.lock import InUseError

Work = Callable[[Unit, Events], str]
"""Does a unit and gives its text."""


def attempt(do: Work, unit: Unit, events: Events) -> Outcome:
    """Do a unit. An error ends it alone, with a sentence; an interruption ends all."""
    raise_if_interrupted()
    try:
        return Outcome(unit.number, "done", do(unit, events))
    except InUseError as error:
        return Outcome(unit.number, "in use", str(error))
    except Exception as error:  # noqa: BLE001 -- whatever ends one run, the others go on
        raise_if_interrupted()
        return Outcome(unit.number, "failed", sentence_on(error))
    finally:
        _free()


@lru_cache(maxsize=1)
def prepared_work(setup: Setup) -> Work:
    """What does the units of a recipe in this process; prepared by the first of them.

    Raises:
        InputError: the recipe, its data or its model cannot be used here.
    """
    if setup.kind == "nothing":
        return lambda unit, _: unit.work
    from retain.jobs.workers.prepared import work_of  # noqa: PLC0415 -- torch, once the number of its threads is set

    return work_of(setup)


def do(setup: Setup, unit: Unit, events: Events) -> Outcome:
    """Do a unit in a worker."""

    def prepare_and_do(unit: Unit, events: Events) -> str:
        return prepared_work(setup)(unit, events)

    return attempt(prepare_and_do, unit, events)


def settle(setup: Setup) -> None:
    """Make this process one of the command's workers: its folder, its words, the number of its threads.

    Raises:
        InputError: the folder in which the command was given is not here, and paths count from there.
    """
    if setup.folder:
        try:
            os.chdir(setup.folder)
        except OSError as error:
            raise InputError(
                f"the folder {setup.folder}, in which the command was given, is not on this machine "
                f"({error.strerror}); share it, or give the command in a folder that every machine has."
            ) from error
    sys.argv = list(setup.command) or sys.argv
    if setup.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(setup.threads)
    if setup.kind == "nothing":
        return
    from retain.jobs.workers.prepared import quiet, set_threads  # noqa: PLC0415 -- as above

    quiet()
    if setup.threads is not None:
        set_threads(setup.threads)


def _free() -> None:
    """Give back the memory of what was done, so that the next has it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    gc.collect()
    with contextlib.suppress(Exception):
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
