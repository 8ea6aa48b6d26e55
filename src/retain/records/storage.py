"""What keeps a file from being written, told in a sentence: a full disk, a quota, a limit of the system.

Libraries that write for us tell it in ways of their own: an `OSError` with or without the file's name, the number of
the system's error within a text (safetensors), or a failed check of their own (torch).
"""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retain.errors import RetainError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "make room there, or give another --output"),
    errno.EDQUOT: ("your quota of that disk is used up", "remove files of yours there, or give another --output"),
    errno.EROFS: ("the file system can only be read", "give another --output"),
    errno.EACCES: ("that is not permitted", "change the permissions, or give another place"),
    errno.EPERM: ("that is not permitted", "change the permissions, or give another place"),
    errno.EFBIG: ("a file may not become so large there", "raise the limit (ulimit -f), or give another --output"),
    errno.EMFILE: ("this process has too many files open", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("the system has too many files open", "end other processes"),
    errno.ENAMETOOLONG: ("its name is too long", "give a shorter --output"),
    errno.EIO: ("the disk reports an error of its own", "see that it is sound, or give another --output"),
}
"""What happened, and the cure, by the number of the system's error."""

_EITHER = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.EIO}
"""Errors that reading meets, too."""

_NUMBER = re.compile(r"\(os error (\d+)\)")
_TORCH = ("PytorchStreamWriter", "inline_container")
"""Words of torch's error where a file could not be written to its end."""


_IN_THE_WAY = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
"""Errors where something else stands in a file's or a folder's place."""


class StorageError(RetainError):
    """A file could not be written, and the system says why."""


@contextmanager
def telling_of_storage(folder: Path) -> Iterator[None]:
    """Tell in a sentence what keeps files in a folder from being written.

    Args:
        folder: the output of a verb.

    Raises:
        StorageError: in place of the error of the system or of the library that wrote.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, RetainError) or not (told := storage_sentence(error, folder)):
            raise
        raise StorageError(told) from error


def storage_sentence(error: Exception, folder: Path | None = None) -> str:
    """What could not be written, where, why, how much is free there and what to do; empty for any other error.

    Args:
        error: of the system or a library, or one that such an error led to.
        folder: where it was written, if the error does not say.
    """
    number, place = _number_and_place(error)
    if number in _IN_THE_WAY and place is not None and (found := _in_the_way(place)):
        return found
    if number not in _REASONS:
        return ""
    reason, cure = _REASONS[number]
    what = str(place) if place is not None else "a file" if folder is None else f"a file in {folder}"
    there = place if place is not None else folder
    details = [_free(there)] if number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} and there is not None else []
    if number == errno.EMFILE:
        details.append(f"at most {resource.getrlimit(resource.RLIMIT_NOFILE)[0]:,}")
    done = "read or written" if number in _EITHER else "written"
    return f"{what} could not be {done}: {reason}{f' ({details[0]})' if details else ''}; {cure}."


def file_in_the_way(folder: Path) -> str:
    """The sentence on a file that stands where a folder, or one above it, should be; empty where none does."""
    file = next((one for one in (*reversed(folder.parents), folder) if one.is_file()), None)
    return "" if file is None else f"{file} is a file, where a folder should be; {_MOVE}."


def _in_the_way(place: Path) -> str:
    folder = f"{place} is a folder, where a file should be; {_MOVE}." if place.is_dir() else ""
    return file_in_the_way(place) or folder


_MOVE = "move it away, and the same command goes on"


def _number_and_place(error: BaseException) -> tuple[int | None, Path | None]:
    """The number of the system's error behind an error, and the file that it names."""
    if isinstance(error, OSError) and error.errno is not None:
        named = error.filename2 or error.filename
        return error.errno, Path(os.fsdecode(named)) if isinstance(named, str | bytes) else None
    if found := _NUMBER.search(str(error)):
        return int(found[1]), None
    further = error.__cause__ or error.__context__
    if further is not None and isinstance(further, OSError):
        return _number_and_place(further)
    return (errno.ENOSPC, None) if any(word in str(error) for word in _TORCH) else (None, None)


def _free(place: Path) -> str:
    """How much is free at a place, and whether further files can be made there at all."""
    here = next((one for one in (place, *place.absolute().parents) if one.exists()), Path())
    try:
        free, files = shutil.disk_usage(here).free, os.statvfs(here)
    except OSError:
        return "how much is free cannot be told"
    size = f"{free / 2**30:,.1f} GiB" if free >= 2**30 else f"{free / 2**20:,.1f} MiB"
    return f"{size} free there" + (", and no further file can be made" if files.f_files and not files.f_favail else "")
