"""A lock as a file that one process at a time can make, on this host or any other, and that names who holds it.

The file is linked into its place, whole, which file systems of one host, NFS and those of clusters do for one of all
that try; the locks of the system (flock, fcntl) do not reach across hosts everywhere. A holder on this machine counts
as long as its process lives. One on another counts as long as it touches the file, which it does every few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from retain.errors import InputError
from retain.records.reading import read_model

BEAT_SECONDS = 20.0
"""Time between two touches of a lock."""

SILENT_SECONDS = 180.0
"""Time without a touch after which a holder on another machine counts as gone."""

LONGEST_WAIT_SECONDS = 2.0
"""Time between two looks at a lock that is waited for, at most."""

_WITHOUT_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Holder(BaseModel):
    """The process that holds a lock.

    Attributes:
        host: the name of its host.
        process: its number there.
        since: when it took the lock.
        born: when it began, by which it is told from a later process with the same number; empty where unknown.
        machine: tells the host from others of the same name, and containers apart; empty where unknown.
        token: tells this holding of the lock from every other one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    process: int
    since: str
    born: str = ""
    machine: str = ""
    token: str = ""

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        now, own = datetime.now(UTC).isoformat(timespec="seconds"), os.getpid()
        born, token = _born(own), secrets.token_hex(8)
        return cls(host=socket.gethostname(), process=own, since=now, born=born, machine=_machine(), token=token)

    def is_alive(self, lock: Path) -> bool:
        """True unless its process is known to be gone, or it is on another machine and silent."""
        here = self.host == socket.gethostname() and self.machine in {"", _machine()}
        if not here:
            return _is_touched(lock)
        if self.process == os.getpid():
            return False
        return is_running(self.process) and _born(self.process) == self.born

    def in_words(self) -> str:
        """Process, host and time."""
        return f"process {self.process} on {self.host}, since {self.since}"


class HeldError(Exception):
    """A lock is held by another process.

    Attributes:
        holder: who holds it.
    """

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        super().__init__(holder.in_words())


@contextmanager
def holding(lock: Path, *, briefly: bool = False) -> Iterator[None]:
    """Hold a lock, and touch it now and then meanwhile.

    Args:
        lock: the file.
        briefly: for far less than `SILENT_SECONDS`, so it need not be touched.

    Raises:
        HeldError: another process does.
        OSError: nothing can be written there.
    """
    mine, over = _acquire(lock), threading.Event()
    if not briefly:
        _remove_leftovers(lock)
        threading.Thread(target=_beat, args=(lock, mine, over), daemon=True, name="retain-lock").start()
    try:
        yield
    finally:
        over.set()
        if _content(lock) == _text(mine):
            with contextlib.suppress(OSError):
                lock.unlink()


@contextmanager
def holding_in_turn(
    lock: Path, waits: Callable[[Holder], None] = lambda _: None, *, briefly: bool = False
) -> Iterator[None]:
    """Hold a lock as soon as whoever holds it now is done, or gone.

    Args:
        lock: the file.
        waits: is told once of the holder that is waited for.
        briefly: as for `holding`.

    Raises:
        OSError: nothing can be written there.
    """
    pause, told = 0.01, False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(holding(lock, briefly=briefly))
                break
            except HeldError as error:
                if not told and pause > LONGEST_WAIT_SECONDS / 4:
                    waits(error.holder)
                    told = True
                time.sleep(pause)
                pause = min(1.5 * pause, LONGEST_WAIT_SECONDS)
        yield


def _acquire(lock: Path) -> Holder:
    mine = Holder.here()
    while not _make(lock, mine):
        found = _content(lock)
        if found is None:  # its holder removed it between the two calls
            continue
        if (holder := _read(lock)) is None:  # its process was stopped while it wrote; or writes at this moment
            time.sleep(0.25)
            if _content(lock) != found:
                continue
        else:
            with contextlib.suppress(FileNotFoundError):
                if holder.is_alive(lock):
                    raise HeldError(holder)
        _clear(lock, found)
    return mine


def _make(lock: Path, mine: Holder) -> bool:
    """Make a lock; False where there is one. What it holds is whole from the first moment on, where links are known."""
    own = lock.with_name(f".{lock.name}-{mine.token}.{mine.process}.partial")
    own.write_bytes(_text(mine))
    try:
        os.link(own, lock)
    except OSError as error:
        if not own.exists():  # who holds the lock took it for what a killed process left
            return False
        if own.stat().st_nlink > 1:  # it was made, and only the answer of the storage was lost
            return True
        if error.errno in _WITHOUT_LINKS:
            return _make_without_links(lock, mine)
        if not isinstance(error, FileExistsError):
            raise
        return False
    finally:
        own.unlink(missing_ok=True)
    return True


def _make_without_links(lock: Path, mine: Holder) -> bool:
    try:
        with lock.open("xb") as file:
            file.write(_text(mine))
    except FileExistsError:
        return False
    return True


def _clear(lock: Path, found: bytes) -> None:
    """Remove a lock whose holder is gone, unless it is another lock by now. One process at a time does so."""
    guard, mine = lock.with_name(f".{lock.name}-clearing.0.partial"), Holder.here()
    if not _make(guard, mine):
        with contextlib.suppress(FileNotFoundError):
            holder = _read(guard)
            if holder is None or not holder.is_alive(guard):
                guard.unlink()
        time.sleep(0.01)
        return
    try:
        if _content(lock) != found:
            return
        aside = lock.with_name(f".{lock.name}-{mine.token}.{mine.process}.partial")
        with contextlib.suppress(FileNotFoundError):
            lock.rename(aside)
            if _content(aside) != found:  # somebody made it anew between the two calls: it is put back
                with contextlib.suppress(FileExistsError):
                    os.link(aside, lock)
            aside.unlink()
    finally:
        guard.unlink(missing_ok=True)


def _remove_leftovers(lock: Path) -> None:
    """Remove what processes left that were killed while they made or cleared this lock; for its holder."""
    for path in lock.parent.glob(f".{glob.escape(lock.name)}-*.partial"):
        with contextlib.suppress(OSError, ValueError):  # gone by now; another's name
            holder, process = _read(path), path.suffixes[-2].removeprefix(".")
            if not (holder.is_alive(path) if holder else is_running(int(process))):
                path.unlink()


def is_running(process: int) -> bool:
    """True if this host has such a process."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process, so there is one
        return True
    return True


def _read(lock: Path) -> Holder | None:
    """The holder; None where the file is empty, damaged or gone."""
    try:
        return read_model(lock, Holder)
    except InputError:
        return None


def _content(lock: Path) -> bytes | None:
    """The bytes of a lock; None where there is none."""
    try:
        return lock.read_bytes()
    except OSError:
        return None


def _text(holder: Holder) -> bytes:
    return holder.model_dump_json().encode()


def _beat(lock: Path, mine: Holder, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        if _content(lock) == _text(mine):
            with contextlib.suppress(OSError):
                os.utime(lock)


def _is_touched(lock: Path) -> bool:
    """True if a lock was touched of late. A time that is still to come tells nothing: it is watched for changes."""
    touched = lock.stat().st_mtime
    silent = _now_at(lock.parent) - touched
    if silent > -BEAT_SECONDS:
        return silent < SILENT_SECONDS
    seen, since = _ahead.get(lock, (None, 0.0))
    if seen != touched:
        _ahead[lock] = touched, time.monotonic()
        return True
    return time.monotonic() - since < SILENT_SECONDS


_ahead: dict[Path, tuple[float, float]] = {}
"""Locks whose time is still to come, with that time and the moment at which this process first saw it."""


def _born(process: int) -> str:
    """When a process began, in the system's own count; empty where the system does not tell."""
    try:
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        return ""


@cache
def _machine() -> str:
    """The system's start and the space in which processes have their numbers; empty where the system does not tell."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{start} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _now_at(folder: Path) -> float:
    """The present time by the clock of the storage, which another machine's touches are measured by."""
    probe = folder / f".retain-clock-{secrets.token_hex(4)}.{os.getpid()}.partial"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
