"""Progress as events: plain values that work hands to a listener. Nothing here draws."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Event:
    """The state of one task at one moment.

    Attributes:
        task: number of the task among those of one `Events`, from 0 in the order in which they began.
        name: a few words on what is being done.
        done: units that are done.
        total: units in all; None while their number is unknown.
        closed: nothing more is told of it, and it need not be shown any longer.
    """

    task: int
    name: str
    done: int = 0
    total: int | None = None
    closed: bool = field(default=False, repr=False)


Listener = Callable[[Event], None]
"""Is called with the state of a task when it begins, and at each change."""


class Task:
    """A piece of work that reports how far it is.

    Args:
        listen: receives each state, the first one at once.
        event: the state at the beginning.
    """

    def __init__(self, listen: Listener, event: Event) -> None:
        self._listen, self._event = listen, event
        listen(event)

    def advance(self, units: int = 1) -> None:
        """Report that so many more units are done."""
        self.update(done=self._event.done + units)

    def update(self, *, done: int | None = None, total: int | None = None, name: str | None = None) -> None:
        """Report a new state; what is None stays as it is."""
        now = self._event
        self._event = Event(
            now.task,
            now.name if name is None else name,
            now.done if done is None else done,
            now.total if total is None else total,
        )
        self._listen(self._event)

    def close(self) -> None:
        """Report that nothing more will be told of the task."""
        self._event = replace(self._event, closed=True)
        self._listen(self._event)


class Events:
    """Progress of any number of tasks, for one listener.

    Examples:
        >>> task = Events(print).task("reading", total=2)
        Event(task=0, name='reading', done=0, total=2)
        >>> task.advance()
        Event(task=0, name='reading', done=1, total=2)

    Args:
        listen: receives the events; the default ignores them.
    """

    def __init__(self, listen: Listener = lambda _: None) -> None:
        self._listen = listen
        self._numbers = itertools.count()

    def task(self, name: str, total: int | None = None, done: int = 0) -> Task:
        """Begin a task.

        Args:
            name: a few words on what is being done.
            total: units in all; None while their number is unknown.
            done: units that were done before, by work that goes on.
        """
        return Task(self._listen, Event(next(self._numbers), name, done, total))


SILENT = Events()
"""Progress that nobody follows."""
