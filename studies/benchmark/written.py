"""Parts of other pages that are made from the records: text between two marks, which page.py replaces."""

from __future__ import annotations

from pathlib import Path

from retain.records.files import write_text

BEGIN, END = "<!-- from the benchmark's records: {} -->", "<!-- end of {} -->"


def with_part(text: str, name: str, part: str) -> str:
    """A page with what stands between the marks of a name replaced.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = BEGIN.format(name), END.format(name)
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no part between {begin} and {end}.")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def write_part(path: Path, name: str, part: str) -> None:
    """Replace a part of a page."""
    write_text(path, with_part(path.read_text(encoding="utf-8"), name, part))
