"""Whether a folder can be written into, found out before any work."""

from __future__ import annotations

import tempfile
from pathlib import Path


def output_problem(output: str | Path) -> list[str]:
    """The reason why a folder cannot be written into: it has no name, a file stands in its place, it is read-only."""
    if not str(output).strip() or "\0" in str(output):
        return [f"output: {str(output)!r} names no folder; say --output runs/first, for instance."]
    place = Path(output)
    try:
        folder = next(parent for parent in (place, *place.absolute().parents) if parent.exists() or parent.is_symlink())
    except OSError as error:
        return [f"output: {output} cannot be used ({error.strerror or error}); give another --output."]
    if not folder.is_dir():
        what = "a link that leads nowhere" if folder.is_symlink() and not folder.exists() else "a file, not a folder"
        return [f"output: {folder} is {what}."]
    if place != folder and not _can_make_folders(folder):
        return [f"output: nothing can be written into {folder}; give another --output."]
    return []


def _can_make_folders(folder: Path) -> bool:
    """Try it: permissions alone do not tell of read-only storage and of the systems' own folders."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".retain-"):
            return True
    except OSError:
        return False
