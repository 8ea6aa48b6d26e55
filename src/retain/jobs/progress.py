"""What a person sees while work goes on: progress bars where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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

WIDTH_WITHOUT_TERMINAL = 100
SECONDS_BETWEEN_LINES = 15.0


def make_console() -> Console:
    """The console for tables and lines; 100 columns wide where the width is unknown."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)


class LineProgress(Progress):
    """Progress as lines, for logs: one when a job begins, then one every `SECONDS_BETWEEN_LINES`."""

    def __init__(self, console: Console) -> None:
        super().__init__(console=console, disable=True)
        self._last = time.monotonic()

    def add_task(self, description: str, *args: Any, **kwargs: Any) -> TaskID:
        """Say that a job begins."""
        task = super().add_task(description, *args, **kwargs)
        self._say(task)
        return task

    def update(self, task_id: TaskID, **kwargs: Any) -> None:
        """Say how far it is, if the last line is old enough."""
        super().update(task_id, **kwargs)
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Say how far it is, if the last line is old enough."""
        self.update(task_id, advance=advance)

    def _say(self, task_id: TaskID) -> None:
        task = self._tasks[task_id]
        done = f"{task.completed:.0f}/{task.total:.0f}" if task.total is not None else f"{task.completed:.0f}"
        self.console.print(f"  {task.description}: {done}", markup=False, soft_wrap=True)
        self._last = time.monotonic()


@contextmanager
def showing_progress(console: Console) -> Iterator[Progress]:
    """A display that takes any number of jobs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) if console.is_terminal else LineProgress(console) as progress:
        yield progress
