"""What several runs share is made once: whoever comes second waits, and finds it made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from retain.activations.distributed import rank
from retain.events import Events
from retain.records.file_lock import Holder
from retain.records.lock import made_once

InTurn = Callable[[Path, Events], AbstractContextManager[None]]
"""Holds the place of a shared file or folder, and tells whom it waits for."""


@contextmanager
def in_turn(path: Path, events: Events) -> Iterator[None]:
    """Hold a place in a folder that all runs see. Of the processes of one run the first holds it for all.

    Args:
        path: the file or folder that is made, or found made.
        events: is told of the process that is waited for.
    """
    if rank() > 0:
        yield
        return

    def waits(holder: Holder) -> None:
        events.task(f"waits for process {holder.process} on {holder.host}, which makes {path.name}")

    with made_once(path, waits):
        yield
