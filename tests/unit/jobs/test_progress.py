"""Progress as lines in a log and as bars on a terminal."""

import io

import pytest
from rich.console import Console

from retain.events import Event, Events
from retain.jobs.progress import ProgressLines, make_console, showing_progress, time_left


class Clock:
    """Seconds that a test sets."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def lines():
    """Events, the clock, and the lines that were printed."""
    file, clock = io.StringIO(), Clock()
    events = Events(ProgressLines(Console(file=file, width=100), clock))
    return events, clock, lambda: file.getvalue().splitlines()


def test_a_line_when_a_task_begins_then_one_every_15_seconds(lines):
    events, clock, printed = lines
    task = events.task("learning", total=1000)
    for second in range(1, 46):
        clock.now = float(second)
        task.advance(10)
    assert printed() == [
        "  learning: 0/1000",
        "  learning: 150/1000, about 1 min 25 s left",
        "  learning: 300/1000, about 1 min 10 s left",
        "  learning: 450/1000, about 55 s left",
    ]


def test_a_new_task_starts_the_15_seconds_anew(lines):
    events, clock, printed = lines
    first = events.task("one")
    clock.now = 14.0
    events.task("two", total=3)
    clock.now = 16.0
    first.advance()
    assert printed() == ["  one: 0", "  two: 0/3"]


def test_no_markup_and_no_wrapping(lines):
    events, _, printed = lines
    events.task("[red]" + "x" * 200, total=1)
    assert printed() == ["  [red]" + "x" * 200 + ": 0/1"]


@pytest.mark.parametrize(
    ("event", "seconds", "units", "words"),
    [
        (Event(0, "", 10, 40), 10.0, 10, ", about 30 s left"),
        (Event(0, "", 10, 400), 10.0, 10, ", about 6 min 30 s left"),
        (Event(0, "", 1, 1000), 10.0, 1, ", about 2 h 46 min left"),
        (Event(0, "", 30, 40), 10.0, 5, ", about 20 s left"),  # 25 were done by an interrupted run
        (Event(0, "", 0, 40), 10.0, 0, ""),
        (Event(0, "", 40, 40), 10.0, 40, ""),
        (Event(0, "", 3), 10.0, 3, ""),
    ],
)
def test_the_time_left_is_that_at_the_pace_of_this_run(event, seconds, units, words):
    assert time_left(event, seconds, units) == words


def test_a_coloured_log_gets_lines_and_no_bars():
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    with showing_progress(console) as events:
        task = events.task("learning", total=50)
        for _ in range(50):
            task.advance()
    assert file.getvalue().count("learning") == 1


def test_a_terminal_gets_bars():
    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    with showing_progress(Console(file=screen, force_terminal=True, width=100)) as events:
        events.task("learning", total=2).update(done=2, name="learnt")
    assert "learnt" in screen.getvalue()
    assert "2/2" in screen.getvalue()


def test_a_quiet_console_prints_nothing(capsys):
    console = make_console(quiet=True)
    with showing_progress(console) as events:
        events.task("learning", total=1)
    console.print("more")
    assert capsys.readouterr().out == ""
