"""A stopwatch adds up its blocks, those that fail among them."""

import pytest

from retain.jobs import stopwatch as module
from retain.jobs.stopwatch import Stopwatch


def test_it_adds_up_blocks_and_not_what_lies_between(monkeypatch):
    times = iter([0.0, 2.0, 10.0, 13.0, 20.0, 24.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(times))
    watch = Stopwatch()
    with watch:
        pass
    with watch:
        pass
    assert watch.seconds == 5.0
    with pytest.raises(ValueError, match="wrong"), watch:
        raise ValueError("wrong")
    assert watch.seconds == 9.0
