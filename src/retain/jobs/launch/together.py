"""Work that one process of several does for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from retain.activations.distributed import rank, wait


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first process do what is inside alone, and the others after it: they find what it wrote.

    In one process nothing happens. An error of the first process ends all: the others wait in vain, and are ended.
    """
    if rank():
        wait()
    yield
    if rank() == 0:
        wait()
