"""A forward pass that can be made to wait between two layers, and go on later."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from typing import Any

from greenlet import getcurrent, greenlet
from torch import Tensor, nn


class Pass:
    """Work that waits where it calls `wait()`, in the same thread; its frames stay, and the tensors in them.

    Not threads, since each would have torch's pool of workers for itself. Modes of torch (grad, autocast) belong to the
    thread, so work must not wait in other ones than it began in: those would be everybody's.

    Args:
        work: the work. An exception in it is raised by `go_on`.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._inner = greenlet(work)
        self._inner.gr_context = contextvars.copy_context()

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors in its frames while it waits, without the model's parameters."""
        held: dict[int, int] = {}
        frame = self._inner.gr_frame
        while frame is not None:
            _note(tuple(frame.f_locals.values()), held)
            frame = frame.f_back
        return sum(held.values())

    def go_on(self) -> bool:
        """Run until the work waits or ends; return whether it has ended."""
        self._inner.parent = getcurrent()
        self._inner.switch()
        return bool(self._inner.dead)

    def drop(self) -> None:
        """End the work where it waits; its tensors are freed, its `finally` clauses run."""
        if self._inner:
            self._inner.parent = getcurrent()
            self._inner.throw()


def _note(value: Any, held: dict[int, int], depth: int = 5) -> None:
    if isinstance(value, Tensor):
        if not isinstance(value, nn.Parameter):
            held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    elif depth and isinstance(value, tuple | list):
        for part in value:
            _note(part, held, depth - 1)
    elif depth and isinstance(value, Mapping):
        _note(tuple(value.values()), held, depth - 1)


def wait() -> None:
    """Wait, inside the work of a `Pass`, until `go_on` is called."""
    parent = getcurrent().parent
    assert parent is not None, "wait() is for the work of a Pass"  # noqa: S101 -- a mistake of ours, not of a user
    parent.switch()
