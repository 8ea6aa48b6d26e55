"""Run the computing stages of a run in worker processes, which Accelerate's launcher starts; follow and end them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retain.errors import InputError, RetainError, TrainingError
from retain.events import Events, Task
from retain.jobs.launch.command import launch_command, worker_environment
from retain.jobs.launch.plan import Plan
from retain.jobs.launch.wire import Switchboard
from retain.recipe import Recipe
from retain.train.regularise.kl_monitor import RetentionWarning

ERRORS: dict[str, type[RetainError]] = {"InputError": InputError, "TrainingError": TrainingError}
"""Errors of workers that are raised here as what they are; others as a `RetainError`."""

PATIENCE_SECONDS = 30.0
"""Time that workers have to end when one of them failed."""

TAIL_LINES = 5


@dataclass
class Heard:
    """What the workers said.

    Attributes:
        errors: kind and sentences of each error, in the order in which they came.
        interrupted: what an interruption saved; None where there was none.
        failures: one line for each error that nobody foresaw.
        finished: whether the first worker said that all is done.
    """

    errors: list[tuple[str, list[str]]] = field(default_factory=list)
    interrupted: str | None = None
    failures: list[str] = field(default_factory=list)
    finished: bool = False


def run_stages(
    recipe: Recipe, folder: Path, shared: Path, events: Events, plan: Plan, done: Callable[[], bool] = lambda: False
) -> None:
    """Ask the base, calibrate and train in the processes of a plan; what they made lies in the run's folder then.

    Args:
        recipe: of the run.
        folder: of the run, which holds its recipe already.
        shared: the folder of files that runs on the same base share.
        events: receives the progress of the first worker.
        plan: the processes.
        done: tells that nothing is left to do, for a machine whose workers nobody has joined yet.

    Raises:
        InputError: as a worker raised it.
        TrainingError: likewise.
        RetainError: a worker ended without a word, or in a way that was not foreseen.
        KeyboardInterrupt: it was interrupted; the workers wrote a checkpoint if they were training.
    """
    heard, board = Heard(), Switchboard()
    with tempfile.TemporaryDirectory(prefix="retain-launch-") as scratch:
        log = Path(scratch) / "log"
        command = launch_command(plan, recipe, Path(scratch), [str(folder), str(shared)])
        with log.open("wb") as written:
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module, no shell
                command,
                env=worker_environment(plan, board.address, os.environ),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this process alone, which asks the workers to stop
            )
        try:
            _follow(process, board, events, heard, done)
        except KeyboardInterrupt:
            _stop(process, board, events, heard)
            raise KeyboardInterrupt(*([heard.interrupted] if heard.interrupted else [])) from None
        finally:
            board.close()
            _end(process)
        _raise(process.returncode, heard, log, over=done)


def _follow(
    process: subprocess.Popen[bytes], board: Switchboard, events: Events, heard: Heard, done: Callable[[], bool]
) -> None:
    """Hear the workers until the launcher has ended."""
    tasks: dict[int, Task] = {}
    while process.poll() is None:
        for message in board.messages(0.2):
            _take(message, events, tasks, heard)
        if not board.has_met_workers and done():
            return
    for _ in range(100):  # what was sent last
        if not (last := list(board.messages(0.0))) and not board.has_workers:
            break
        for message in last:
            _take(message, events, tasks, heard)


def _take(message: dict[str, Any], events: Events, tasks: dict[int, Task], heard: Heard) -> None:
    """Act on one message of a worker."""
    if (event := message.get("event")) is not None:
        number, name, done, total = event
        if number not in tasks:
            tasks[number] = events.task(name, total=total, done=done)
        else:
            tasks[number].update(name=name, done=done, total=total)
    elif "warning" in message:
        category = RetentionWarning if message.get("kind") == "RetentionWarning" else UserWarning
        warnings.warn(str(message["warning"]), category, stacklevel=2)
    elif "error" in message:
        heard.errors.append((str(message["error"]), [str(text) for text in message["problems"]]))
    elif "interrupted" in message:
        heard.interrupted = heard.interrupted or str(message["interrupted"])
    elif "failed" in message:
        heard.failures.append(str(message["failed"]))
    elif "finished" in message:
        heard.finished = True


def _stop(process: subprocess.Popen[bytes], board: Switchboard, events: Events, heard: Heard) -> None:
    """Ask the workers to stop and wait until they have; interrupted once more, end them at once."""
    try:
        board.stop()
        _follow(process, board, events, heard, lambda: False)
    except KeyboardInterrupt:
        process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the launcher, which ends its workers; they end by themselves when their line is closed."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _raise(code: int, heard: Heard, log: Path, over: Callable[[], bool]) -> None:
    """Raise what went wrong in the workers.

    Raises:
        RetainError: something did.
        KeyboardInterrupt: they were interrupted by somebody else, as a cluster does.
    """
    if heard.errors:
        kind, problems = heard.errors[0]
        raise InputError(problems) if kind == "InputError" else ERRORS.get(kind, RetainError)("\n".join(problems))
    if heard.interrupted is not None:
        raise KeyboardInterrupt(*([heard.interrupted] if heard.interrupted else []))
    if heard.failures:
        raise RetainError(f"a worker failed in a way that was not foreseen ({heard.failures[0]}). {_kept(log)}")
    if code and not over():
        raise RetainError(f"{_how(log)} {_kept(log)}")


def _how(log: Path) -> str:
    """The way in which a worker ended, as the launcher's log tells it."""
    found = re.search(r"exitcode\s*:\s*-(\d+)", log.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return "the launcher of the workers failed."
    killed = " (out of memory is the usual cause)" if found[1] == "9" else ""
    return f"a worker was ended by signal {found[1]}{killed}; the same command goes on from the last checkpoint."


def _kept(log: Path) -> str:
    """The end of a log, and the place where all of it is kept."""
    text = log.read_text(encoding="utf-8", errors="replace")
    with tempfile.NamedTemporaryFile(
        "w", prefix="retain-launch-", suffix=".log", delete=False, encoding="utf-8"
    ) as copy:
        copy.write(text)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip() and set(line.strip()) - set("-=")]
    return f"The log of the workers is in {copy.name}; it ends: {' | '.join(lines[-TAIL_LINES:])[-600:]}"
