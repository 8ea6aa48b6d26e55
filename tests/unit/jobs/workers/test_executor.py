"""The loop that hands units out: what is lost is done again, what is in use is looked at again, no more than fits."""

import pytest

from retain.errors import TrainingError
from retain.jobs.workers import executor as module
from retain.jobs.workers.executor import RETRIES, InThisProcess, spread
from retain.jobs.workers.unit import Outcome, Setup, Unit
from retain.records.lock import InUseError


class Scripted:
    """Does units as a script says: the states of a unit one after another, then done."""

    def __init__(self, places, script):
        self.places, self.script = places, {number: list(states) for number, states in script.items()}
        self.running, self.most, self.begun = [], 0, []

    def begin(self, unit):
        self.running.append(unit)
        self.begun.append(unit.number)
        self.most = max(self.most, len(self.running))

    def wait(self, seconds):
        if not self.running:
            return []
        unit = self.running.pop(0)
        states = self.script.get(unit.number, [])
        return [Outcome(unit.number, states.pop(0) if states else "done", "why")]


@pytest.fixture
def units():
    return lambda count: [Unit(number=number, name=f"run-{number}") for number in range(count)]


def test_every_unit_is_done_once_and_no_more_at_a_time_than_there_are_places(units):
    workers = Scripted(3, {})
    found = [unit.number for unit, _ in spread(units(10), workers, print)]
    assert sorted(found) == list(range(10)) == sorted(workers.begun)
    assert workers.most == 3


def test_a_unit_whose_worker_is_lost_is_given_to_another_but_not_for_ever(units):
    told = []
    workers = Scripted(2, {1: ["lost"], 2: ["lost"] * 9})
    found = {unit.number: outcome for unit, outcome in spread(units(3), workers, told.append)}
    assert [found[number].state for number in range(3)] == ["done", "done", "failed"]
    assert workers.begun.count(1) == 2
    assert workers.begun.count(2) == RETRIES + 1
    assert "run-1: its worker was lost (why)" in told[0] + told[1]
    assert "lost 4 times" in found[2].text


def test_what_another_command_is_doing_is_looked_at_last_and_again(units, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    told = []
    workers = Scripted(1, {0: ["in use", "in use"]})
    assert [unit.number for unit, _ in spread(units(3), workers, told.append)] == [1, 2, 0]
    assert len(told) == 1, "it is told once"
    left = dict(spread(units(2), Scripted(1, {0: ["in use"]}), told.append, wait_for_others=False))
    assert [outcome.state for outcome in left.values()] == ["in use", "done"]


def test_once_the_time_is_over_nothing_more_is_begun(units):
    workers, asked = Scripted(2, {}), iter([True, True, True, False])
    found = {
        unit.number: outcome.state for unit, outcome in spread(units(6), workers, print, may_begin=lambda: next(asked))
    }
    assert [found[number] for number in range(6)] == ["done"] * 3 + ["not begun"] * 3


def test_in_this_process_an_error_ends_one_unit_and_an_interruption_all(units):
    def do(unit, events):
        if unit.number == 0:
            raise TrainingError("the loss became nan")
        if unit.number == 1:
            raise InUseError("in use by process 7 on node3")
        if unit.number == 3:
            raise KeyboardInterrupt
        events.task("learns", total=1).advance()
        return "text"

    heard = []
    workers = InThisProcess(do, lambda unit, event: heard.append((unit.name, event.done)))
    found = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(outcome for _, outcome in spread(units(4), workers, print, wait_for_others=False))
    assert [(one.state, one.text) for one in found] == [
        ("failed", "the loss became nan"), ("in use", "in use by process 7 on node3"), ("done", "text"),
    ]  # fmt: skip
    assert heard[-2:] == [("run-2", 0), ("run-2", 1)]


def test_memory_that_runs_out_and_what_nobody_foresaw_are_told_in_a_sentence(units, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class OutOfMemoryError(RuntimeError):
        pass

    def do(unit, events):
        raise OutOfMemoryError("2 GiB") if unit.number == 0 else ZeroDivisionError("division\nby zero")

    texts = [outcome.text for _, outcome in spread(units(2), InThisProcess(do, print), print)]
    assert texts[0] == "out of memory (2 GiB)."
    assert "not foreseen (ZeroDivisionError: division by zero)" in texts[1]
    (log,) = tmp_path.glob("retain-error-*.log")
    assert "ZeroDivisionError" in log.read_text(encoding="utf-8")


def test_a_setup_is_known_again_by_its_key():
    one = Setup(kind="run", recipe="{}", threads=2)
    assert one.key == Setup(kind="run", recipe="{}", threads=2).key != Setup(kind="run", recipe="{}").key
