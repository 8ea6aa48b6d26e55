"""Judges of refusals: the detector, a Python function, or a command; checked, called, and named for the record."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import pkgutil
import queue
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from retain.errors import InputError, sentence
from retain.evaluate.refusals import detector_error, json_object, refuses
from retain.recipe import redacted
from retain.records.paths import expanded

PYTHON = "python:"
"""Begins the name of a judge that is a Python function."""

TIMEOUT = 600.0
"""Seconds that a judge may take for all answers of a suite."""

TRIAL = (("Say hello.",), ("Hello!",))
"""A request and its answer on which a judge is tried before any model is loaded."""


def judge_answers(
    prompts: Sequence[str], answers: Sequence[str], judge: str | None, timeout: float = TIMEOUT
) -> list[bool]:
    """Tell which of the answers refuse.

    Args:
        prompts: the requests.
        answers: the answers, in the same order.
        judge: None for the detector; `python:module:function`, called with prompts and answers; or a command, run
            without a shell, that reads lines of {"prompt", "answer"} and writes as many lines of {"refused"}, as JSON.
        timeout: seconds that the judge may take for all of them.

    Raises:
        InputError: the judge cannot be had, fails, takes too long, or does not judge each answer. No message holds the
            command, which may hold a key, nor what the judge was given.
    """
    if judge is None:
        return [refuses(answer) for answer in answers]
    try:
        if judge.startswith(PYTHON):
            found = _within(timeout, _function(judge.removeprefix(PYTHON)), list(prompts), list(answers))
        else:
            found = _judge_by_command(judge, prompts, answers, timeout)
        return _checked(found, len(answers))
    except _JudgeError as error:
        raise InputError(sentence(f"judge {redacted(judge)}: {error}")) from error


class _JudgeError(Exception):
    """The reason why a judge did not judge, as a clause without its name and without a full stop."""


def _function(place: str) -> Callable[[list[str], list[str]], Any]:
    """The function MODULE:FUNCTION, which must be callable with two lists.

    Raises:
        _JudgeError: there is none, or it takes something else.
    """
    module, _, name = place.partition(":")
    if not module or not name:
        raise _JudgeError("a Python judge is named as python:MODULE:FUNCTION")
    try:
        found: Any = pkgutil.resolve_name(f"{module}:{name}")
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise _JudgeError(
            f"{module}:{name} cannot be imported ({reason}); its folder must be on Python's path (PYTHONPATH)"
        ) from error
    if not callable(found):
        raise _JudgeError(f"{module}:{name} is no function ({type(found).__name__})")
    with contextlib.suppress(ValueError):  # some functions in C tell no signature; the trial finds out
        try:
            inspect.signature(found).bind([], [])
        except TypeError as error:
            raise _JudgeError(
                f"{module}:{name} cannot be called with a list of prompts and a list of answers ({error}); it must "
                "take both and return a list of true and false"
            ) from error
    function: Callable[[list[str], list[str]], Any] = found
    return function


def _within(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns within some seconds.

    It is called in a thread, which is left to itself if it takes longer: Python cannot stop it.

    Raises:
        _JudgeError: it takes longer, or raises.
    """
    outcome: queue.Queue[tuple[bool, Any]] = queue.Queue()

    def call() -> None:
        try:
            outcome.put((True, function(*arguments)))
        except BaseException as error:  # noqa: BLE001 -- the user's function may raise anything, SystemExit too
            outcome.put((False, type(error).__name__))

    threading.Thread(target=call, daemon=True).start()
    try:
        well, found = outcome.get(timeout=seconds)
    except queue.Empty:
        raise _JudgeError(
            f"was not done after {seconds:g} s; it may take no longer for the answers of a suite"
        ) from None
    if not well:
        raise _JudgeError(f"raised {found}; try it on a prompt and an answer of your own")
    return found


def _judge_by_command(judge: str, prompts: Sequence[str], answers: Sequence[str], timeout: float) -> list[Any]:
    """Answers judged by a program. Its standard error goes where ours goes; what it was given appears in no message."""
    lines_in = "".join(
        json.dumps({"prompt": prompt, "answer": answer}) + "\n" for prompt, answer in zip(prompts, answers, strict=True)
    )
    try:
        done = subprocess.run(  # noqa: S603 -- the command that the user named, without a shell
            shlex.split(judge), input=lines_in, stdout=subprocess.PIPE, encoding="utf-8", timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        reason = f"was not done with {len(answers)} answers after {timeout:g} s"
        raise _JudgeError(f"{reason}; it may take no longer for the answers of a suite") from error
    except UnicodeDecodeError as error:
        raise _JudgeError("what it wrote is no UTF-8 text") from error
    except (OSError, ValueError, IndexError) as error:
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or "it is empty"
        raise _JudgeError(f"cannot be run ({reason})") from error
    if done.returncode:
        raise _JudgeError(f"ended with exit code {done.returncode}; see what it wrote above")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    rows = [json_object(line) for line in lines]
    wrong = next((place for place, row in enumerate(rows, start=1) if row is None or "refused" not in row), None)
    if wrong is not None:
        raise _JudgeError(
            f'line {wrong} of what it wrote is not JSON like {{"refused": true}}; nothing else may go to its standard '
            "output"
        )
    return [row["refused"] for row in rows if row is not None]


def _checked(verdicts: Any, count: int) -> list[bool]:
    """The verdicts, one true or false for each answer.

    Raises:
        _JudgeError: they are something else.
    """
    if not isinstance(verdicts, Iterable) or isinstance(verdicts, str | bytes | Mapping):
        kind = type(verdicts).__name__
        raise _JudgeError(f"returned {kind} where a list of true and false is expected, one for each answer")
    found = [verdict.item() if hasattr(verdict, "item") else verdict for verdict in verdicts]  # of numpy and torch
    if len(found) != count:
        raise _JudgeError(f"was given {count} answers and judged {len(found)}; it must judge each")
    strange = next((place for place, verdict in enumerate(found, start=1) if not isinstance(verdict, bool)), None)
    if strange is not None:
        kind = type(found[strange - 1]).__name__
        raise _JudgeError(f"verdict {strange} is neither true nor false ({kind})")
    return found


def judged_by(judge: str | None) -> str:
    """Describe who judged the answers of a safety suite, and with what error, for the record.

    The detector's error is computed from the labelled answers among the assets (`python assets/prepare.py safety`);
    where they are not here, its validation is pointed to.
    """
    if judge is not None:
        return f"Refusals were judged by {redacted(judge)}; its error is not known here."
    labelled = expanded(os.environ.get("RETAIN_ASSETS") or ".assets") / "safety" / "labelled-answers.jsonl"
    error = detector_error(labelled)
    if error is None:
        return "Refusals were found by rules; the labelled answers that tell their error are not here (docs: safety)."
    return f"{error} People's labels count answers that miss the point as refusals, which rules cannot see."


def judge_problems(judge: str | None, timeout: float = TIMEOUT) -> list[str]:
    """A sentence if a judge of answers cannot judge: it is not there, or fails on one harmless request and answer.

    Args:
        judge: as `judge_answers` takes it.
        timeout: seconds that the trial may take.
    """
    if judge is None:
        return []
    if not judge.startswith(PYTHON) and (reason := _no_program(judge)):
        return [sentence(f"judge {redacted(judge)}: {reason}")]
    try:
        judge_answers(*TRIAL, judge, timeout)
    except InputError as error:
        return [f"{problem} (Tried on one harmless request.)" for problem in error.problems]
    return []


def _no_program(command: str) -> str:
    try:
        program = next(iter(shlex.split(command)), "")
    except ValueError as error:
        return f"cannot be read as a command ({error})"
    return "" if shutil.which(program) else f"there is no program {program!r} that can be run; give its path"
