"""Progress as lines in a log and as bars on a terminal."""

import io

import pytest
from rich.console import Console

from retain.events import Event, Events
from retain.jobs.progress import MOST_LINES, ProgressLines, RunsProgress, make_console, showing_progress, time_left


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


def test_few_lines_however_many_changes(lines):
    """The first after 15 seconds, then one after each half of the time so far."""
    events, clock, printed = lines
    task = events.task("learning", total=1000)
    for second in range(1, 100):
        clock.now = float(second)
        task.advance(10)
    assert printed() == [
        "  learning: 150/1000, about 1 min 25 s left",
        "  learning: 300/1000, about 1 min 10 s left",
        "  learning: 450/1000, about 55 s left",
        "  learning: 680/1000, about 32 s left",
    ]


def test_an_hour_of_changes_leaves_a_page_at_most(lines):
    events, clock, printed = lines
    task = events.task("learning", total=36000)
    for tick in range(36000):
        clock.now = tick / 10
        task.advance()
    assert len(printed()) < 25


def test_tasks_of_seconds_leave_no_line(lines):
    events, clock, printed = lines
    for number in range(10):
        events.task(f"task {number}", total=3).advance()
        clock.now += 1.4
    assert printed() == []
    events.task("the next", total=3)
    clock.now += 1.1
    events.task("one more", total=3)
    assert printed() == ["  one more: 0/3"]


def test_runs_at_the_same_time_all_have_their_lines_up_to_a_number():
    file, clock = io.StringIO(), Clock()
    runs = RunsProgress(Events(ProgressLines(Console(file=file, width=100), clock, together=True)), 20)
    for run in ("a", "b", "c"):
        runs.at(run, Event(0, "learns", 1, 8))
    runs.over("c")
    clock.now = 20.0
    runs.at("a", Event(0, "learns", 5, 8))
    assert file.getvalue().splitlines() == [
        "  runs: 1/20, about 6 min 20 s left",
        "  a: learns: 5/8, about 15 s left",
        "  b: learns: 1/8",
    ]
    clock.now = 60.0
    for number in range(12):
        runs.at(f"run-{number}", Event(0, "learns", 2, 8))
        clock.now += 10.0 * (number == 10)
    assert file.getvalue().splitlines()[3:] == ["  run-0: learns: 2/8"]
    clock.now = 120.0
    runs.at("run-11", Event(0, "learns", 3, 8))
    assert len(file.getvalue().splitlines()) == 4 + MOST_LINES + 1
    assert file.getvalue().endswith("… and 3 more\n")


def test_no_markup_and_no_wrapping(lines):
    events, clock, printed = lines
    clock.now = 20.0
    events.task("[red]" + "x" * 200, total=1)
    assert printed() == ["  [red]" + "x" * 200 + ": 0/1"]


@pytest.mark.parametrize(
    ("event", "seconds", "units", "words"),
    [
        (Event(0, "", 10, 40), 10.0, 10, ", about 30 s left"),
        (Event(0, "", 10, 400), 10.0, 10, ", about 6 min 30 s left"),
        (Event(0, "", 3, 1000), 30.0, 3, ", about 2 h 46 min left"),
        (Event(0, "", 1, 1000), 10.0, 1, ""),  # of very many the first tells nothing: a model warms up
        (Event(0, "", 27, 1000), 20.0, 2, ""),
        (Event(0, "", 1, 6), 10.0, 1, ", about 50 s left"),
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
    assert file.getvalue().count("learning") == 0  # it took no time


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
