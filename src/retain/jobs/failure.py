"""Sentences on errors, for people; the traceback of one that nobody foresaw goes into a file."""

from __future__ import annotations

import contextlib
import os
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from retain.errors import RetainError
from retain.records.storage import storage_sentence

LIBRARIES = {"SafetensorError": "a file of weights could not be read or written", "OutOfMemoryError": "out of memory"}
"""Errors of libraries that say what happened, by their names."""


def sentence_on(error: Exception) -> str:
    """The sentence that an error is told by. Of one that nobody foresaw the traceback is written to a file."""
    if isinstance(error, OSError) and (told := storage_sentence(error)):
        return told
    if isinstance(error, (RetainError, OSError, MemoryError)):  # a full disk, a folder without permission among them
        return " ".join(str(error).split()) or type(error).__name__
    cause = " ".join(str(error).split())[:300]
    if (known := LIBRARIES.get(type(error).__name__)) is not None:
        return f"{known} ({cause})."
    place = write_log("".join(traceback.format_exception(error)))
    where = f"Its traceback is in {place}; please report it." if place else "Its traceback could not be written."
    return f"in a way that was not foreseen ({type(error).__name__}{': ' if cause else ''}{cause}). {where}"


def write_log(text: str) -> Path | None:
    """Write a traceback into the current folder, or else the system's folder for temporary files; its path."""
    name = f"retain-error-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
    for folder in (Path.cwd, lambda: Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            place = folder() / name
            place.write_text(text, encoding="utf-8", errors="backslashreplace")
            return place
    return None
