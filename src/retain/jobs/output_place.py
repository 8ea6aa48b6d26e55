"""Whether a folder can be written into, found out before any work."""

from __future__ import annotations

import tempfile
from pathlib import Path


def output_problem(output: str | Path) -> list[str]:
    """The reason why a folder cannot be written into: it has no name, a file stands in its place, it is read-only."""
    if not str(output).strip() or "\0" in str(output):
        return [f"output: {str(output)!r} names no folder; say --output runs/first, for instance."]
    reason = unwritable(Path(output), existing=False)
    return [f"output: {reason}; give another --output."] if reason else []


def unwritable(place: Path, *, existing: bool = True) -> str:
    """A clause on why nothing can be written into a folder, there or not; empty where it can.

    Args:
        place: the folder.
        existing: try it in a folder that is there, too.
    """
    try:
        folder = next(parent for parent in (place, *place.absolute().parents) if parent.exists() or parent.is_symlink())
    except OSError as error:
        return f"{place} cannot be used ({error.strerror or error})"
    if not folder.is_dir():
        what = "a link that leads nowhere" if folder.is_symlink() and not folder.exists() else "a file, not a folder"
        return f"{folder} is {what}"
    if (existing or place != folder) and not _can_make_folders(folder):
        return f"nothing can be written into {folder}"
    return ""


def _can_make_folders(folder: Path) -> bool:
    """Try it: permissions alone do not tell of read-only storage and of the systems' own folders."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".retain-"):
            return True
    except OSError:
        return False
