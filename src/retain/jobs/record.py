"""The record of a measurement: result, items and report, written together."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from retain.jobs.run_card import tell_verdict
from retain.recipe import redacted
from retain.records.items import Item, write_items
from retain.records.result import Provenance, Result, write_result
from retain.report.write import write_run_report

PACKAGES = ("retain", "torch", "transformers", "peft", "accelerate", "datasets", "numpy")

JUDGE = "--judge"


def provenance(hashes: dict[str, str], model_hash: str, notes: Sequence[str]) -> Provenance:
    """The provenance of a result: the command of this process, versions, hashes of data and base weights."""
    program, *arguments = sys.argv or [""]
    return Provenance(
        command=" ".join([_program(program), *_without_secrets(arguments)]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **dict(_installed())},
        data_hashes=hashes,
        model_hash=model_hash,
        notes=tuple(notes),
    )


def _installed() -> Iterator[tuple[str, str]]:
    """The packages that are there, with their versions: a verdict from logs needs no torch."""
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _program(path: str) -> str:
    """The name of a program; `python -m retain` is `retain`, and so is the module of its command line."""
    place = Path(path)
    is_own = place.name == "__main__.py" or place.parts[-2:] == ("cli", "main.py")
    return "retain" if is_own and "retain" in place.parts else place.name


def _without_secrets(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the judge's command redacted, which may hold a key."""
    shown, before = [], ""
    for argument in arguments:
        if before == JUDGE:
            shown.append(redacted(argument))
        elif argument.startswith(f"{JUDGE}="):
            shown.append(f"{JUDGE}={redacted(argument.removeprefix(f'{JUDGE}='))}")
        else:
            shown.append(argument)
        before = argument
    return shown


def write_record(directory: Path, result: Result, items: Sequence[Item]) -> Result:
    """Write items, report and plots, and the result last, so that a folder with `result.json` is complete.

    Returns:
        The written result, with the hash of its items.
    """
    written = write_items(items, directory / "items.jsonl")
    provenance_of_items = result.provenance.model_copy(update={"items_hash": written})
    result = result.model_copy(update={"provenance": provenance_of_items})
    write_run_report(directory, result, items)
    tell_verdict(directory, result)
    write_result(result, directory / "result.json")
    return result
