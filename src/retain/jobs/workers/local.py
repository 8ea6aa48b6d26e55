"""Worker processes of this machine, each with its share of the processors and one GPU in turn."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Self

from retain.events import Event
from retain.jobs.workers.executor import Listener, Told
from retain.jobs.workers.process import parse_message
from retain.jobs.workers.unit import Outcome, Setup, Unit

END_SECONDS = 20.0
"""Time that a worker without work has to end."""

CHECKPOINT_SECONDS = 600.0
"""Time that a worker has to write its checkpoint when it is interrupted."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    messages: int
    errors: IO[bytes]
    unit: Unit | None = None
    buffer: bytearray = field(default_factory=bytearray)

    def send(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # one that is gone is noticed by the end of its messages
            if self.process.stdin is not None:
                self.process.stdin.write(text.encode() + b"\n")
                self.process.stdin.flush()

    def ending(self) -> str:
        """How it ended, with the last line that it wrote."""
        code = self.process.wait()
        self.errors.seek(0)
        last = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
        how = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        memory = ", as the system does where memory runs out" if code == -signal.SIGKILL else ""
        return f"{how}{memory}{': ' if last else ''}{''.join(last)[:200]}"


class LocalWorkers:
    """Some processes that do units at the same time.

    Args:
        setup: what they are told.
        places: how many.
        listen: is told how far a unit is.
        told: is told of warnings.
        gpus: names of the GPUs, which are given out in turn.
    """

    def __init__(self, setup: Setup, places: int, listen: Listener, told: Told, gpus: Sequence[str] = ()) -> None:
        self._setup, self.places, self._listen, self._told = setup, places, listen, told
        self._gpus = gpus
        self._workers: list[_Worker | None] = [None] * places
        self._selector = selectors.DefaultSelector()

    def begin(self, unit: Unit) -> None:
        """Give a unit to a worker that has none; start one where there is none."""
        place = next(
            (place for place, worker in enumerate(self._workers) if worker is not None and worker.unit is None),
            None,
        )
        if place is None:
            place = self._workers.index(None)
            self._workers[place] = self._start(place)
        worker = self._workers[place]
        if worker is not None:
            worker.unit = unit
            worker.send(unit.model_dump_json())

    def wait(self, seconds: float) -> list[Outcome]:
        """The units that are over; those of workers that are gone are lost."""
        over: list[Outcome] = []
        for key, _ in self._selector.select(seconds):
            place: int = key.data
            worker = self._workers[place]
            if worker is None:
                continue
            if content := os.read(worker.messages, 1 << 16):
                worker.buffer += content
                *lines, rest = worker.buffer.split(b"\n")
                worker.buffer = bytearray(rest)
                over += [outcome for line in lines if (outcome := self._heard(worker, parse_message(bytes(line))))]
                continue
            unit = worker.unit
            over += [] if unit is None else [Outcome(unit.number, "lost", worker.ending())]
            self._forget(place)
        return over

    def _heard(self, worker: _Worker, message: dict[str, Any]) -> Outcome | None:
        """Pass on what a worker told; what became of its unit is given back."""
        if "event" in message and worker.unit is not None:
            self._listen(worker.unit, Event(**message["event"]))
        elif "told" in message:
            self._told(str(message["told"]))
        elif "state" in message:
            worker.unit = None
            return Outcome(int(message["number"]), message["state"], str(message["text"]))
        return None

    def _start(self, place: int) -> _Worker:
        reading, writing = os.pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed when the worker is forgotten
        environment = os.environ | ({"CUDA_VISIBLE_DEVICES": self._gpus[place % len(self._gpus)]} if self._gpus else {})
        if self._setup.threads is not None:
            environment["OMP_NUM_THREADS"] = str(self._setup.threads)
        process = subprocess.Popen(  # noqa: S603 -- this very interpreter
            [sys.executable, "-P", "-m", "retain.jobs.workers.process", str(writing)],
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            pass_fds=[writing],
            start_new_session=True,
            env=environment,
        )
        os.close(writing)
        self._selector.register(reading, selectors.EVENT_READ, place)
        worker = _Worker(process, reading, errors)
        worker.send(self._setup.model_dump_json())
        return worker

    def _forget(self, place: int) -> None:
        worker, self._workers[place] = self._workers[place], None
        if worker is not None:
            self._selector.unregister(worker.messages)
            os.close(worker.messages)
            worker.errors.close()
            if worker.process.stdin is not None:
                with contextlib.suppress(OSError):
                    worker.process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers: at once where they have nothing to do, else as soon as a checkpoint is written."""
        try:
            for worker in self._living():
                if worker.unit is None:
                    worker.send("")
                else:
                    worker.process.send_signal(signal.SIGTERM)
            self._drain(END_SECONDS if kind is None else CHECKPOINT_SECONDS)
        except KeyboardInterrupt:  # the second Ctrl-C does not wait
            for worker in self._living():
                worker.process.send_signal(signal.SIGINT)
            self._drain(END_SECONDS / 4)
            raise
        finally:
            for worker in self._living():
                worker.process.kill()
                worker.process.wait()
            for place in range(self.places):
                self._forget(place)
            self._selector.close()

    def _living(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker is not None and worker.process.poll() is None]

    def _drain(self, seconds: float) -> None:
        """Wait until all have ended, and read what they write meanwhile, so that none of them waits for that."""
        until = time.monotonic() + seconds
        while self._living() and time.monotonic() < until:
            for key, _ in self._selector.select(0.1):
                if not os.read(key.fd, 1 << 16):
                    time.sleep(0.02)


def shared_threads(places: int) -> int | None:
    """Threads of each of some processes that share this machine; None where the environment says it already."""
    if os.environ.get("OMP_NUM_THREADS"):
        return None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // places)


def visible_gpus(count: int) -> list[str]:
    """The names of the GPUs that this process may use, of which there are so many."""
    stated = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return stated[:count] or [str(number) for number in range(count)]
