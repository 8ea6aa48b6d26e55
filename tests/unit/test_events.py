"""Progress as plain values: what a listener receives, and in which order."""

from retain.events import SILENT, Event, Events


def test_a_listener_receives_the_first_state_and_each_change():
    seen = []
    task = Events(seen.append).task("reading", total=3, done=1)
    task.advance()
    task.update(done=3, total=4, name="reading · loss 1.0")
    assert seen == [
        Event(0, "reading", 1, 3),
        Event(0, "reading", 2, 3),
        Event(0, "reading · loss 1.0", 3, 4),
    ]


def test_tasks_are_told_apart_by_their_number():
    seen = []
    events = Events(seen.append)
    first, second = events.task("a"), events.task("b")
    second.advance()
    first.advance(5)
    assert [(event.task, event.name, event.done, event.total) for event in seen] == [
        (0, "a", 0, None),
        (1, "b", 0, None),
        (1, "b", 1, None),
        (0, "a", 5, None),
    ]


def test_an_update_to_zero_is_no_missing_value():
    seen = []
    Events(seen.append).task("a", total=2, done=2).update(done=0, total=0, name="")
    assert seen[-1] == Event(0, "", 0, 0)


def test_nobody_needs_to_listen():
    SILENT.task("a", total=1).advance()
