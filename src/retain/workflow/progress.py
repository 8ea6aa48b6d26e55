"""What a person sees while work goes on: progress bars where there is a terminal, plain lines where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

WIDTH_WITHOUT_TERMINAL = 100


def make_console() -> Console:
    """The console for tables and lines; 100 columns wide where the width is unknown."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)


@contextmanager
def showing_progress(console: Console) -> Iterator[Progress]:
    """A display that takes any number of bars and leaves each on the screen when it is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress
