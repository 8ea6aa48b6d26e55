"""One process at a time in an output folder, and one at a time for what several runs share.

`.retain.lock` in a folder names host, process and time; see `retain.records.file_lock`.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from retain.errors import InputError
from retain.records.file_lock import HeldError, Holder, holding, holding_in_turn
from retain.records.files import remove_leftovers
from retain.records.manifest import LOCK, begin, refusal
from retain.records.storage import telling_of_storage

READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class InUseError(InputError):
    """A folder is held by another process, which the sentence names."""


@contextmanager
def output_folder(folder: Path, writes: Iterable[str] = (), *, alone: bool = True) -> Iterator[None]:
    """Hold a folder while a verb writes into it: nobody else does, and nothing of the user's is lost.

    What interrupted writes left there is removed. On storage that cannot be written to nothing is held.

    Args:
        folder: the output.
        writes: names of files and folders that will be written or removed. What lies there must be retain's.
        alone: refuse a folder that another process holds; else wait for it, and leave alone what others are writing
            beside these names.

    Raises:
        InUseError: another process holds it; nothing was changed.
        InputError: something under these names is not retain's; nothing but such leftovers was removed.
        StorageError: something could not be written, for a reason that the system gives.
    """
    names = tuple(writes)
    with contextlib.ExitStack() as held:
        held.enter_context(telling_of_storage(folder))
        folder.mkdir(parents=True, exist_ok=True)
        held.enter_context(_held(folder / LOCK, alone=alone))
        with _unless_read_only():  # first, since what a kill left half-written is noted under its final name alone
            remove_leftovers(folder, None if alone else names)
        if problems := refusal(folder / name for name in names):
            raise InputError(problems)
        with _unless_read_only():
            begin(folder)
        yield


@contextmanager
def made_once(path: Path, waits: Callable[[Holder], None] = lambda _: None) -> Iterator[None]:
    """Hold the place of a file or folder that several processes need, and any of them makes.

    Whoever comes second waits, and finds it made. On storage that cannot be written to nothing is held.

    Args:
        path: the file or folder. What an interrupted write of it left is removed.
        waits: is told once of the holder that is waited for.
    """
    with contextlib.ExitStack() as held:
        with _unless_read_only():
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(holding_in_turn(path.with_name(f".retain-{path.name}.lock"), waits))
            remove_leftovers(path.parent, [path.name])
        yield


@contextmanager
def _held(lock: Path, *, alone: bool) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        try:
            with _unless_read_only():
                held.enter_context(holding(lock) if alone else holding_in_turn(lock))
        except HeldError as error:
            raise InUseError(
                f"output: {lock.parent} is in use by {error.holder.in_words()}. Wait until it ends, or give another "
                f"--output. (If there is no such process any more, remove {lock}.)"
            ) from error
        yield


@contextmanager
def _unless_read_only() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
