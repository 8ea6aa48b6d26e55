"""The line between a job and its workers on one machine: JSON lines over a local socket.

A worker sends its progress, its warnings and its errors, and hears that it is to stop. Each side sees the other's end
at once, however that came about: so no worker outlives its job, and no job waits for a worker that is gone.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from retain.errors import InputError
from retain.records.reading import parse_json

ADDRESS = "RETAIN_LAUNCH"
"""The environment's variable with port and token of the job."""

STOP = "stop"
"""The message that asks a worker to end after the step in hand, with a checkpoint."""

GRACE_SECONDS = 120.0
"""Time that a worker has to write its checkpoint when its job is gone."""


class Line:
    """One end of a line: messages out, messages in."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._rest = b""
        self._lock = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send a message; to an end that is gone it is lost."""
        with suppress(OSError), self._lock:
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have come whole, waiting for more of them; None when the other end is gone."""
        try:
            came = self.connection.recv(1 << 16)
        except OSError:
            return None
        if not came:
            return None
        *lines, self._rest = (self._rest + came).split(b"\n")
        return [message for line in lines if isinstance(message := _parsed(line), dict)]


def _parsed(line: bytes) -> Any:
    try:
        return parse_json(line, "message")
    except InputError:
        return None


class Switchboard:
    """The job's end: it accepts the lines of its workers.

    Attributes:
        address: what the workers are given in their environment.
        has_met_workers: whether a worker was ever on a line.
    """

    def __init__(self) -> None:
        self._token = secrets.token_hex(16)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lines: dict[socket.socket, Line] = {}
        self._known: set[socket.socket] = set()
        self._stopping = False
        self.has_met_workers = False
        self.address = f"{self._listener.getsockname()[1]}:{self._token}"

    def messages(self, seconds: float) -> Iterator[dict[str, Any]]:
        """What the workers sent, waiting for it at most so long."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._listener:
                connection, _ = self._listener.accept()
                self._selector.register(connection, selectors.EVENT_READ)
                self._lines[connection] = Line(connection)
            elif isinstance(key.fileobj, socket.socket):
                yield from self._heard(key.fileobj)

    def stop(self) -> None:
        """Ask all workers to end after the step in hand, and those that are still to come."""
        self._stopping = True
        for connection in self._known:
            self._lines[connection].send(do=STOP)

    @property
    def has_workers(self) -> bool:
        """True if a worker is on a line."""
        return bool(self._known)

    def close(self) -> None:
        """Close all lines: workers that are still there end."""
        self._selector.close()
        for connection in [self._listener, *self._lines]:
            connection.close()

    def _heard(self, connection: socket.socket) -> Iterator[dict[str, Any]]:
        found = self._lines[connection].receive()
        if found is None:
            self._drop(connection)
            return
        for message in found:
            if connection in self._known:
                yield message
            elif secrets.compare_digest(str(message.get("token", "")), self._token):
                self._known.add(connection)
                self.has_met_workers = True
                if self._stopping:
                    self._lines[connection].send(do=STOP)
            else:
                self._drop(connection)
                return

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        self._known.discard(connection)
        del self._lines[connection]
        connection.close()


@contextmanager
def line_to_job(environment: Mapping[str, str]) -> Iterator[Line]:
    """A worker's line to its job. SIGTERM comes when the job asks to stop, or is gone.

    Raises:
        InputError: there is no job.
    """
    port, _, token = environment.get(ADDRESS, "").partition(":")
    try:
        connection = socket.create_connection(("127.0.0.1", int(port)))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{ADDRESS}: there is no job at {port or 'no port'}; workers are started by retain."
        ) from error
    line = Line(connection)
    line.send(token=token)
    over = threading.Event()
    threading.Thread(target=_listen, args=(line, over), daemon=True, name="retain-line").start()
    try:
        yield line
    finally:
        over.set()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def _listen(line: Line, over: threading.Event) -> None:
    while (messages := line.receive()) is not None:
        if any(message.get("do") == STOP for message in messages):
            os.kill(os.getpid(), signal.SIGTERM)
    if over.is_set():
        return
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
