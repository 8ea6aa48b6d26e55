"""Judges of refusals: the detector, a Python function, or a command; checked, called, and named for the record."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from retain.errors import InputError
from retain.evaluate.refusals import detector_error, json_object, refuses
from retain.recipe import redacted

PYTHON = "python:"
"""Begins the name of a judge that is a Python function."""

TIMEOUT = 600.0
"""Seconds that a judge's command may take for all answers of a suite."""


def judge_answers(
    prompts: Sequence[str], answers: Sequence[str], judge: str | None, timeout: float = TIMEOUT
) -> list[bool]:
    """Tell which of the answers refuse.

    Args:
        prompts: the requests.
        answers: the answers, in the same order.
        judge: None for the detector; `python:module:function`, called with prompts and answers; or a command, run
            without a shell, that reads lines of {"prompt", "answer"} and writes as many lines of {"refused"}, as JSON.
        timeout: seconds that a command may take.

    Raises:
        InputError: the judge cannot be had, fails, or does not judge each answer.
    """
    if judge is None:
        return [refuses(answer) for answer in answers]
    if judge.startswith(PYTHON):
        return _checked(judge, _function(judge)(list(prompts), list(answers)), len(answers))
    return _judge_by_command(judge, prompts, answers, timeout)


def _function(judge: str) -> Callable[[list[str], list[str]], Any]:
    module, _, name = judge.removeprefix(PYTHON).partition(":")
    if not module or not name:
        raise InputError(f"judge {judge!r}: a Python judge is named as python:module:function.")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"judge {judge!r}: cannot be imported ({error}); the module must be on Python's path, for instance by "
            "PYTHONPATH=folder."
        ) from error
    if not callable(found):
        raise InputError(f"judge {judge!r}: is no function but a {type(found).__name__}.")
    function: Callable[[list[str], list[str]], Any] = found
    return function


def _judge_by_command(judge: str, prompts: Sequence[str], answers: Sequence[str], timeout: float) -> list[bool]:
    """Answers judged by a program. Its standard error goes where ours goes; what it was given appears in no message."""
    lines_in = "".join(
        json.dumps({"prompt": prompt, "answer": answer}) + "\n" for prompt, answer in zip(prompts, answers, strict=True)
    )
    try:
        done = subprocess.run(  # noqa: S603 -- the command that the user named, without a shell
            shlex.split(judge), input=lines_in, stdout=subprocess.PIPE, encoding="utf-8", timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"judge {judge!r}: was not done with {len(answers)} answers after {timeout:g} s.") from error
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"judge {judge!r}: cannot be run ({error or 'it is empty'}).") from error
    if done.returncode:
        raise InputError(f"judge {judge!r}: ended with exit code {done.returncode}; see what it wrote above.")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    rows = [json_object(line) for line in lines]
    wrong = next((place for place, row in enumerate(rows, start=1) if row is None or "refused" not in row), None)
    if wrong is not None:
        raise InputError(
            f'judge {judge!r}: line {wrong} of what it wrote is not JSON like {{"refused": true}}; nothing else may go '
            "to its standard output."
        )
    return _checked(judge, [row["refused"] for row in rows if row is not None], len(answers))


def _checked(judge: str, verdicts: Any, count: int) -> list[bool]:
    found = list(verdicts) if isinstance(verdicts, Iterable) else []
    if len(found) != count:
        raise InputError(f"judge {judge!r}: was given {count} answers and judged {len(found)}; it must judge each.")
    strange = next((place for place, verdict in enumerate(found, start=1) if not isinstance(verdict, bool)), None)
    if strange is not None:
        kind = type(found[strange - 1]).__name__
        raise InputError(f"judge {judge!r}: verdict {strange} is neither true nor false but a {kind}.")
    return found


def judged_by(judge: str | None) -> str:
    """Describe who judged the answers of a safety suite, and with what error, for the record.

    The detector's error is computed from the labelled answers among the assets (`python assets/prepare.py safety`);
    where they are not here, its validation is pointed to.
    """
    if judge is not None:
        return f"Refusals were judged by {redacted(judge)}; its error is not known here."
    labelled = Path(os.environ.get("RETAIN_ASSETS") or ".assets").expanduser() / "safety" / "labelled-answers.jsonl"
    error = detector_error(labelled)
    if error is None:
        return "Refusals were found by rules; the labelled answers that tell their error are not here (docs: safety)."
    return f"{error} People's labels count answers that miss the point as refusals, which rules cannot see."


def judge_problems(judge: str | None) -> list[str]:
    """A sentence if a judge of answers is not there: no such function, or no such program."""
    if judge is None:
        return []
    reason = _no_function(judge.removeprefix(PYTHON)) if judge.startswith(PYTHON) else _no_program(judge)
    return [f"judge {redacted(judge)}: {reason}."] if reason else []


def _no_function(place: str) -> str:
    module, _, name = place.partition(":")
    if not module or not name:
        return "a Python judge is named as python:MODULE:FUNCTION"
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 -- the user's module may raise anything as it is imported
        reason = f"{type(error).__name__}: {error}"
        return f"{module}:{name} cannot be imported ({reason}); its folder must be on Python's path (PYTHONPATH)"
    return "" if callable(found) else f"{module}:{name} is no function but a {type(found).__name__}"


def _no_program(command: str) -> str:
    try:
        program = next(iter(shlex.split(command)), "")
    except ValueError as error:
        return f"cannot be read as a command ({error})"
    return "" if shutil.which(program) else f"there is no program {program!r} that can be run; give its path"
