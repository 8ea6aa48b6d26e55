"""Progress on the screen: bars on a terminal, lines with the time left in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from retain.events import Event, Events, Task

WIDTH_WITHOUT_TERMINAL = 100
SECONDS_BETWEEN_LINES = 15.0
"""The least time between two lines of a log."""

MOST_SECONDS_BETWEEN_LINES = 300.0
"""The most, for long work."""

FEWEST_UNITS, SMALLEST_SHARE = 3, 0.05
"""The time left is told once so many units, or such a share of all, were done."""

MOST_LINES = 8
"""Lines at one time, of tasks that are done at the same time."""


def make_console(*, quiet: bool = False) -> Console:
    """Make the console for tables and lines; 100 columns wide where the width is unknown."""
    console = Console(highlight=False, quiet=quiet)
    return console if console.is_terminal else Console(highlight=False, quiet=quiet, width=WIDTH_WITHOUT_TERMINAL)


@contextmanager
def showing_progress(console: Console, *, together: bool = False) -> Iterator[Events]:
    """Show progress on a console: bars where a person sees it move, else lines.

    A console can be coloured and still write into a file (`FORCE_COLOR`), where bars would leave a line for each
    change.

    Args:
        console: where.
        together: tasks are done at the same time, and closed when they are over.

    Yields:
        Events for any number of tasks.
    """
    if not (console.is_terminal and console.file.isatty()):
        yield Events(ProgressLines(console, together=together))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield Events(ProgressBars(bars))


@contextmanager
def showing_runs(console: Console, total: int) -> Iterator[RunsProgress]:
    """Show the progress of runs that are done at the same time: a bar each and one for all, or lines.

    Args:
        console: where.
        total: how many runs there are.
    """
    with showing_progress(console, together=True) as events:
        shown = RunsProgress(events, total)
        yield shown
        shown.end()


class RunsProgress:
    """The progress of several runs in one display; a run shows the task that it is at.

    Args:
        events: what shows it.
        total: how many runs there are.
    """

    def __init__(self, events: Events, total: int) -> None:
        self._events = events
        self._all = events.task("runs", total) if total > 1 else None
        self._now: dict[str, tuple[int, Task]] = {}

    def at(self, run: str, event: Event) -> None:
        """Show how far a run is."""
        name = f"{run}: {event.name}"
        number, task = self._now.get(run, (-1, None))
        if task is None or number != event.task:
            if task is not None:
                task.close()
            self._now[run] = event.task, self._events.task(name, event.total, event.done)
        else:
            task.update(done=event.done, total=event.total, name=name)

    def over(self, run: str, *, counts: bool = True) -> None:
        """Take a run off the display."""
        _, task = self._now.pop(run, (0, None))
        if task is not None:
            task.close()
        if counts and self._all is not None:
            self._all.advance()

    def end(self) -> None:
        """Take all off the display."""
        for run in list(self._now):
            self.over(run, counts=False)
        if self._all is not None:
            self._all.close()


class ProgressBars:
    """Shows each task as a bar."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._known: dict[int, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Move the bar of a task; the first event of a task opens it."""
        bar = self._known.get(event.task)
        if event.closed:
            if bar is not None:
                self._bars.remove_task(self._known.pop(event.task))
        elif bar is None:
            self._known[event.task] = self._bars.add_task(event.name, total=event.total, completed=event.done)
        else:
            self._bars.update(bar, description=event.name, total=event.total, completed=event.done)


class ProgressLines:
    """Shows progress as few lines: one after each half of the time so far, with the time left.

    Between two lines pass at least `SECONDS_BETWEEN_LINES` and at most `MOST_SECONDS_BETWEEN_LINES`, so that work of
    seconds leaves no line and work of hours some dozens.

    Args:
        console: takes the lines.
        clock: seconds that only rise.
        together: tasks are done at the same time, so each that got on since the last line has one, up to `MOST_LINES`.
    """

    def __init__(
        self, console: Console, clock: Callable[[], float] = time.monotonic, *, together: bool = False
    ) -> None:
        self._console, self._clock, self._together = console, clock, together
        self._first: dict[int, tuple[float, int]] = {}
        self._moved: dict[int, Event] = {}
        self._began = self._last = clock()

    def __call__(self, event: Event) -> None:
        """Print a line if the last one is old enough."""
        now = self._clock()
        if event.closed:
            self._first.pop(event.task, None)
            self._moved.pop(event.task, None)
            return
        self._first.setdefault(event.task, (now, event.done))
        self._moved = (self._moved if self._together else {}) | {event.task: event}
        wait = min(max(SECONDS_BETWEEN_LINES, (self._last - self._began) / 2), MOST_SECONDS_BETWEEN_LINES)
        if now - self._last < wait:
            return
        self._last = now
        moved = [one for one in self._moved.values() if one is event or one.total is None or one.done < one.total]
        self._moved.clear()
        for one in moved[:MOST_LINES]:
            self._print(one, now)
        if len(moved) > MOST_LINES:
            self._console.print(f"  … and {len(moved) - MOST_LINES} more", markup=False)

    def _print(self, event: Event, now: float) -> None:
        began, done_before = self._first[event.task]
        of = "" if event.total is None else f"/{event.total}"
        left = time_left(event, now - began, event.done - done_before)
        self._console.print(f"  {event.name}: {event.done}{of}{left}", markup=False, soft_wrap=True)


def time_left(event: Event, seconds: float, units: int) -> str:
    """The time that a task still takes at its pace so far, in words; empty where it has no pace or no known end.

    Args:
        event: the state of the task.
        seconds: since it began.
        units: done in that time.
    """
    if event.total is None or units < 1 or event.done >= event.total:
        return ""
    if units < FEWEST_UNITS and units < SMALLEST_SHARE * event.total:
        return ""  # the first unit takes longer than the others: a model warms up
    return f", about {duration(seconds / units * (event.total - event.done))} left"


def duration(seconds: float) -> str:
    """A time in words, to the second below an hour and to the minute above."""
    left = round(seconds)
    hours, minutes = left // 3600, left % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left % 60} s" if minutes else f"{left} s"
