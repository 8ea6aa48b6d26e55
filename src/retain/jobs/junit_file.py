"""The JUnit XML file of a verdict: written where a CI system looks for it, and over nothing but an earlier verdict."""

from __future__ import annotations

from collections.abc import Mapping

from retain.errors import InputError, sentence
from retain.jobs.output_place import unwritable
from retain.records.files import write_text
from retain.records.paths import expanded
from retain.records.result import Result
from retain.report.junit import junit_xml

_OURS = b'<testsuites name="retain"'


def junit_problem(junit: str | None) -> list[str]:
    """The reason why the file cannot be written: it has no name, something else lies there, it is read-only."""
    if junit is None:
        return []
    try:
        reason = _unfit(junit)
    except InputError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{junit} cannot be used ({error.strerror or error})"
    return [sentence(f"junit: {reason}")] if reason else []


def _unfit(junit: str) -> str:
    """A clause on why nothing is to be written there; empty where it can be."""
    place = expanded(junit)
    if not junit.strip():
        return "the name of the file is blank; say --junit verdict.xml, for instance"
    if place.is_dir():
        return f"{junit} is a folder; give the name of a file"
    if place.exists() and _OURS not in place.read_bytes()[:512]:
        return f"{junit} holds something else than a verdict of retain, which would be lost; give another name"
    return unwritable(place.parent)


def write_junit(junit: str | None, results: Mapping[str, Result]) -> None:
    """Write the verdicts of some runs, where a file is asked for.

    Args:
        junit: the file; None for none.
        results: each run's record by the name of the run.

    Raises:
        InputError: see `junit_problem`.
    """
    if junit is None:
        return
    if problems := junit_problem(junit):
        raise InputError(problems)
    write_text(expanded(junit), junit_xml(results))
