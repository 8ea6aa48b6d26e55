"""One process at a time in an output folder: a lock that says who holds it, and that a dead holder does not keep.

`.retain.lock` names host, process and time. A holder on this host counts as long as its process lives. One on another
host (a folder on shared storage) counts as long as it touches the file, which it does every few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from retain.errors import InputError
from retain.records.files import remove_leftovers
from retain.records.manifest import LOCK, begin, refusal
from retain.records.reading import read_model
from retain.records.storage import telling_of_storage

BEAT_SECONDS = 20.0
"""Time between two touches of a lock."""

SILENT_SECONDS = 180.0
"""Time without a touch after which a holder on another host counts as gone."""

READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class Holder(BaseModel):
    """The process that writes into a folder. `born` tells it from a later one with the same number, where known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    process: int
    since: str
    born: str = ""

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(host=socket.gethostname(), process=os.getpid(), since=now, born=_born(os.getpid()))

    def is_alive(self, lock: Path) -> bool:
        """True unless its process is known to be gone, or it is on another host and silent."""
        if self.host != socket.gethostname():
            return _now_at(lock.parent) - lock.stat().st_mtime < SILENT_SECONDS
        if self.process == os.getpid():
            return False
        try:
            os.kill(self.process, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:  # another user's process, so there is one
            pass
        return _born(self.process) == self.born


@contextmanager
def output_folder(folder: Path, writes: Iterable[str] = ()) -> Iterator[None]:
    """Hold a folder while a verb writes into it: nobody else does, and nothing of the user's is lost.

    What interrupted writes left there is removed. On storage that cannot be written to nothing is held.

    Args:
        folder: the output.
        writes: names of files and folders that will be written or removed. What lies there must be retain's.

    Raises:
        InputError: another process holds it, or something under these names is not retain's; nothing was changed.
        StorageError: something could not be written, for a reason that the system gives.
    """
    with telling_of_storage(folder), _held(folder, writes):
        yield


@contextmanager
def _held(folder: Path, writes: Iterable[str]) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock, over = folder / LOCK, threading.Event()
    with _unless_read_only():
        _take(lock)
        threading.Thread(target=_beat, args=(lock, over), daemon=True, name="retain-lock").start()
    try:
        if problems := refusal(folder / name for name in writes):
            raise InputError(problems)
        with _unless_read_only():
            begin(folder)
            remove_leftovers(folder)
        yield
    finally:
        over.set()
        with contextlib.suppress(OSError, InputError):
            if read_model(lock, Holder).process == os.getpid():
                lock.unlink()


@contextmanager
def _unless_read_only() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise


def _take(lock: Path) -> None:
    """Write this process into a lock, unless another one that lives stands there."""
    while True:
        with lock.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # for as long as it takes to look and to write
            try:
                if not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    continue
            except FileNotFoundError:  # its holder removed it between the two calls
                continue
            holder = _holder(lock)
            if holder is not None and holder.is_alive(lock):
                raise InputError(
                    f"output: {lock.parent} is in use by process {holder.process} on {holder.host}, since "
                    f"{holder.since}. Wait until it ends, or give another --output. (If there is no such process any "
                    f"more, remove {lock}.)"
                )
            file.truncate(0)
            file.write(Holder.here().model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
            return


def _holder(lock: Path) -> Holder | None:
    """The holder; None where the file is empty or damaged, since its process was stopped while it wrote."""
    try:
        return read_model(lock, Holder)
    except InputError:
        return None


def _beat(lock: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(lock)


def _born(process: int) -> str:
    """When a process began, in the system's own count; empty where the system does not tell."""
    try:
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        return ""


def _now_at(folder: Path) -> float:
    """The present time by the clock of the storage, which another host's touches are measured by."""
    probe = folder / f".{LOCK}.{os.getpid()}.partial"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
