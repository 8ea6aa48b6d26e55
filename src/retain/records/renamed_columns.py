"""Renamed columns as they are written: `prompt=instruction,completion=output`, in a flag or behind a source."""

from __future__ import annotations

from collections.abc import Mapping

RENAMED = "::"
"""Stands between a source and its renamed columns: `FILE::text=content`."""


def parse_columns(text: str) -> dict[str, str]:
    """Old names of columns by their new ones.

    Examples:
        >>> parse_columns("prompt=instruction,completion=output")
        {'prompt': 'instruction', 'completion': 'output'}

    Raises:
        ValueError: as a clause, an entry is no NEW=OLD, or a name stands twice.
    """
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        new, equals, old = (part.strip() for part in entry.partition("="))
        if not (new and equals and old):
            raise ValueError(f"{entry!r} is no NEW=OLD, as prompt=instruction,completion=output")
        if new in found:
            raise ValueError(f"{new} stands there twice")
        found[new] = old
    return found


def with_columns(source: str, columns: Mapping[str, str]) -> str:
    """A source whose columns are renamed; one that names its own columns keeps those.

    Examples:
        >>> with_columns("pairs.csv", {"prompt": "question"})
        'pairs.csv::prompt=question'
    """
    if not columns or RENAMED in source:
        return source
    return source + RENAMED + ",".join(f"{new}={old}" for new, old in columns.items())
