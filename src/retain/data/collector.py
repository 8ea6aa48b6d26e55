"""Python's collector of cycles, off while many rows are made or gone through."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Look for no cycles of dead objects; as a context or a decorator.

    The collector goes through all objects that live whenever enough new ones were made. Among a million rows, which
    hold no cycles, it takes a third of the time and finds nothing.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
