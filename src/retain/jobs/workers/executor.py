"""The interface to whatever does units, and the one loop that hands them out: retries, folders in use, progress."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from retain.events import Event, Events
from retain.jobs.workers.unit import Outcome, Unit
from retain.jobs.workers.work import attempt

RETRIES = 3
"""How often a unit is given to another worker after one was lost."""

PAUSE_SECONDS = 2.0
"""Time after which a unit whose folder is in use is tried again."""

Listener = Callable[[Unit, Event], None]
"""Is told how far a unit is."""

Told = Callable[[str], None]
"""Is told in a sentence what happened meanwhile."""


class Executor(Protocol):
    """Does units, some at the same time. Used as a context: left by an exception, it ends what is being done."""

    @property
    def places(self) -> int:
        """How many units it takes at the same time."""

    def begin(self, unit: Unit) -> None:
        """Take a unit."""

    def wait(self, seconds: float) -> list[Outcome]:
        """The units that are over, as soon as there are any; none after so many seconds."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InThisProcess:
    """Does one unit after another in this process.

    Args:
        do: does a unit and gives its text.
        listen: is told how far it is.
    """

    places = 1

    def __init__(self, do: Callable[[Unit, Events], str], listen: Listener) -> None:
        self._do, self._listen = do, listen
        self._next: deque[Unit] = deque()

    def begin(self, unit: Unit) -> None:
        """Take a unit."""
        self._next.append(unit)

    def wait(self, seconds: float) -> list[Outcome]:
        """Do the unit that was taken."""
        if not self._next:
            time.sleep(seconds)
            return []
        unit = self._next.popleft()
        return [attempt(self._do, unit, Events(lambda event: self._listen(unit, event)))]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to end."""


def spread(
    units: Sequence[Unit],
    executor: Executor,
    told: Told,
    *,
    wait_for_others: bool = True,
    may_begin: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[Unit, Outcome]]:
    """Have units done, and give each with what became of it, in the order in which they end.

    A unit whose worker was lost is given to another, so often. One whose folder another command holds is put off until
    nothing else is left, and then tried now and then.

    Args:
        units: what is to be done.
        executor: does it.
        told: is told of what was lost and of what is in use.
        wait_for_others: try again what others are doing; else it is given as in use.
        may_begin: is asked before each unit; once it says no, no other one is begun.
    """
    waiting, running = deque(units), dict[int, Unit]()
    put_off: dict[int, tuple[float, Unit]] = {}
    lost: Counter[int] = Counter()
    while waiting or running or put_off:
        for unit in [unit for due, unit in put_off.values() if due <= time.monotonic() and not waiting]:
            waiting.append(unit)
        while waiting and len(running) < executor.places:
            unit = waiting.popleft()
            if not may_begin():
                yield from ((left, Outcome(left.number, "not begun")) for left in (unit, *waiting))
                waiting.clear()
                break
            running[unit.number] = unit
            executor.begin(unit)
        for outcome in executor.wait(0.5):
            unit = running.pop(outcome.number)
            if outcome.state == "in use" and wait_for_others:
                if unit.number not in put_off:
                    told(f"{unit.name}: {outcome.text} It is looked at again.")
                put_off[unit.number] = time.monotonic() + PAUSE_SECONDS, unit
                continue
            put_off.pop(unit.number, None)
            if outcome.state == "lost":
                lost[unit.number] += 1
                if lost[unit.number] <= RETRIES:
                    told(f"{unit.name}: its worker was lost ({outcome.text}); another one goes on with it.")
                    waiting.append(unit)
                    continue
                told_why = f"its worker was lost {lost[unit.number]} times ({outcome.text})."
                yield unit, Outcome(unit.number, "failed", told_why)
                continue
            yield unit, outcome
