"""A forward pass that can be made to wait between two layers, and go on later."""

from __future__ import annotations

from collections.abc import Callable

from greenlet import getcurrent, greenlet


class Pass:
    """Work that waits where it says `wait()`, in the same thread: its frames, and what they hold, stay.

    Not threads, since each would have torch's pool of workers for itself, and none of the caller's modes.

    Args:
        work: what to do. What it raises is raised where it was told to go on.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._inner = greenlet(work)

    def go_on(self) -> bool:
        """Run until it waits or ends; whether it has ended."""
        self._inner.parent = getcurrent()
        self._inner.switch()
        return bool(self._inner.dead)

    def drop(self) -> None:
        """End it where it waits; what it holds is let go of, its `finally` clauses run."""
        if self._inner:
            self._inner.parent = getcurrent()
            self._inner.throw()


def wait() -> None:
    """Wait, inside the work of a `Pass`, until it is told to go on."""
    parent = getcurrent().parent
    assert parent is not None, "wait() is for the work of a Pass"  # noqa: S101 -- a mistake of ours, not of a user
    parent.switch()
