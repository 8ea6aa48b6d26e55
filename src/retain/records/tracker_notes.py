"""The runs of experiment trackers that a run of retain reports to, noted in its folder, to be found again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from retain.errors import InputError
from retain.records.files import write_text
from retain.records.manifest import changed
from retain.records.reading import read_json_mapping

NOTES = "trackers.json"
"""Identifier and project of each tracker's run, by the tracker's name."""


def note_runs(folder: Path, runs: Mapping[str, Mapping[str, str]]) -> None:
    """Note runs of trackers beside those that are noted. Where that cannot be written, a later process begins others.

    Args:
        folder: the run's.
        runs: `id` and `project` by the tracker's name.
    """
    if runs:
        with contextlib.suppress(InputError, OSError):
            write_text(folder / NOTES, json.dumps({**noted_runs(folder), **runs}, indent=2) + "\n")


def noted_runs(folder: Path) -> dict[str, dict[str, str]]:
    """The runs of trackers that are noted; none where the file is not as retain wrote it."""
    path = folder / NOTES
    if not path.is_file() or changed(path):
        return {}
    try:
        found = read_json_mapping(path)
    except InputError:
        return {}
    return {
        name: noted
        for name, noted in found.items()
        if isinstance(noted, dict) and all(isinstance(value, str) for value in noted.values())
    }
