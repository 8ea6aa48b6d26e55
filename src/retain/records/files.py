"""Files and folders that are there in full or not at all, and on the disk before they have their names.

In a folder with a log (`retain.records.manifest`) each is noted there, and what is not retain's is not overwritten.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from retain.errors import InputError
from retain.records.file_lock import is_running
from retain.records.manifest import (
    LOCK,
    MANIFEST,
    Known,
    begin,
    digest_of,
    ensure_own,
    foreign,
    is_tree,
    log_above,
    note_file,
    note_tree,
    sync,
    tree_digests,
)
from retain.records.paths import expanded

PARTIAL = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.(?P<state>partial|former)")
"""Names of what is being written, and of what it is about to take the place of."""


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file so that it is there in full or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there in full or not at all: under a temporary name beside it, then renamed.

    A file that has this content already is left as it is.

    Raises:
        InputError: another file is there that is not retain's, in a folder whose files are noted.
    """
    if (
        not path.is_symlink()
        and path.is_file()
        and path.stat().st_size == len(content)
        and path.read_bytes() == content
    ):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    ensure_own(path)
    note_file(path, digest_of(content))
    temporary = _beside(path, "partial")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None and error.errno is not None:
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    sync(path.parent)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when all went well, and goes when not.

    Raises:
        InputError: `folder` holds something that is not retain's.
    """
    folder = expanded(folder).absolute()
    if problem := _occupied(folder):
        raise InputError(problem)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, former = _beside(folder, "partial"), _beside(folder, "former")
    _tidy(folder)
    temporary.mkdir()
    try:
        yield temporary
        _complete(temporary, folder)
        if folder.exists():
            folder.rename(former)
        temporary.rename(folder)
        sync(folder.parent)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path, only: Iterable[str] | None = None) -> None:
    """Remove what interrupted writes left in an output folder, and finish a replacement that was cut off.

    For the holder of the folder's lock: nobody else may be writing there. Only folders that retain wrote into are
    looked at.

    Args:
        folder: the output.
        only: what was to get one of these names in the folder itself, where others may be writing beside them.
    """
    names = Known.read(folder).files if only is None and (folder / MANIFEST).is_file() else {}
    wanted = None if only is None else frozenset(only)
    places = {folder, *((folder / name).parent for name in names)}
    places |= {parent for place in places for parent in place.parents if folder in parent.parents}
    for place in sorted(places):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            match = PARTIAL.fullmatch(path.name)
            if match is None or (wanted is not None and match["name"] not in wanted):
                continue
            final = path.with_name(match["name"])
            if match["state"] == "former" and not final.exists():
                path.rename(final)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing."""
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def is_bookkeeping(path: Path) -> bool:
    """True for names that only retain's own writing gives: logs, locks, and what an interrupted write left."""
    return path.name in {MANIFEST, LOCK} or PARTIAL.fullmatch(path.name) is not None or _is_lock(path.name)


def _is_lock(name: str) -> bool:
    return name.startswith(".retain-") and name.endswith(".lock")


def _beside(path: Path, state: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{state}")


def _tidy(folder: Path) -> None:
    """Finish or remove what writes of this folder left that were cut off; those of other running processes stay."""
    left = [(path, match) for path in folder.parent.iterdir() if (match := PARTIAL.fullmatch(path.name)) is not None]
    for path, match in left:
        if match["name"] != folder.name or (int(match["pid"]) != os.getpid() and is_running(int(match["pid"]))):
            continue
        if match["state"] == "former" and not folder.exists():
            path.rename(folder)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _occupied(folder: Path) -> str | None:
    """The reason why a folder cannot be replaced, or None."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return f"{folder}: is no folder that retain wrote; give another, or move it away."
    if others := foreign(folder):
        what = f"something else than retain wrote there ({others[0].name})"
    elif folder.exists() and not is_tree(folder) and any(folder.iterdir()):
        what = "results of retain, not weights alone"
    else:
        return None
    return f"{folder}: holds {what}; give another folder, or empty it."


def _complete(temporary: Path, folder: Path) -> None:
    """Bring a new folder's files to the disk and note them: in the log above it, or else in one of its own."""
    for path in temporary.rglob("*"):
        sync(path)
    sync(temporary)
    if PARTIAL.fullmatch(folder.name):  # a part of another folder that is being written
        return
    files = tree_digests(temporary)
    if log_above(folder.parent) is not None:
        note_tree(folder, files)
        return
    begin(temporary)
    note_tree(temporary, files)
