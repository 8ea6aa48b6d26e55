"""A worker process of this machine: `python -m retain.jobs.workers.process N` reads lines, and writes lines to pipe N.

It is in a session of its own, so Ctrl-C reaches it only through the command, which gives one signal and waits for the
checkpoint. Where the command itself is gone, its end of the pipe is closed, and the worker ends as on that signal.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, Any

from retain.events import Event, Events
from retain.interruption import interruptible
from retain.jobs.workers.unit import Setup, Unit
from retain.jobs.workers.work import do, settle
from retain.records.reading import parse_json

SECONDS_BETWEEN_EVENTS = 0.2
"""The least time between two states of one task that are told."""


def main() -> None:
    """Do units until there are no more."""
    pipe = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no line of ours
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the command's shell may have it ignore
    try:
        with interruptible():
            _work(lines, pipe)
    except KeyboardInterrupt as interruption:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _write(pipe, {"interrupted": " ".join(map(str, interruption.args))})
        sys.exit(130)


def _work(lines: queue.Queue[str], pipe: IO[str]) -> None:
    setup = Setup.model_validate_json(lines.get())
    logging.getLogger("retain").addHandler(_Told(pipe))
    settle(setup)
    while line := lines.get():
        unit = Unit.model_validate_json(line)
        outcome = do(setup, unit, Events(Throttled(lambda event: _write(pipe, {"event": asdict(event)}))))
        _write(pipe, {"number": outcome.number, "state": outcome.state, "text": outcome.text})


class Throttled:
    """Passes on the first and the last state of each task, and of those between some a second."""

    def __init__(self, listen: Callable[[Event], None], seconds: float = SECONDS_BETWEEN_EVENTS) -> None:
        self._listen, self._seconds = listen, seconds
        self._task, self._last = -1, 0.0

    def __call__(self, event: Event) -> None:
        """Pass a state on, if it is time."""
        now = time.monotonic()
        if event.task == self._task and now - self._last < self._seconds and event.done != event.total:
            return
        self._task, self._last = event.task, now
        self._listen(event)


class _Told(logging.Handler):
    """Tells the command of warnings."""

    def __init__(self, pipe: IO[str]) -> None:
        super().__init__(logging.WARNING)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        _write(self._pipe, {"told": record.getMessage()})


def _read(lines: queue.Queue[str]) -> None:
    """Pass on the lines of the command; where it is gone, end what is being done."""
    for line in sys.stdin:
        if line == "\n":  # the command has no more units
            break
        lines.put(line)
    else:
        os.kill(os.getpid(), signal.SIGTERM)
    lines.put("")


def _write(pipe: IO[str], message: dict[str, Any]) -> None:
    try:
        pipe.write(json.dumps(message) + "\n")
        pipe.flush()
    except OSError:  # the command is gone, which the reader of its lines acts on
        return


def parse_message(line: bytes) -> dict[str, Any]:
    """A message of a worker."""
    message = parse_json(line, "a worker's message")
    return message if isinstance(message, dict) else {}


if __name__ == "__main__":
    main()
