"""Work that waits and goes on in the same thread."""

import contextvars

import pytest
import torch
from torch import nn

from retain.activations.paused import Pass, wait


def test_it_waits_and_goes_on_where_it_was():
    seen = []

    def work():
        seen.append("a")
        wait()
        seen.append("b")

    one = Pass(work)
    assert seen == []
    assert not one.go_on()
    assert seen == ["a"]
    assert one.go_on()
    assert seen == ["a", "b"]


def test_several_go_on_in_turn():
    seen = []

    def work(name):
        for step in range(2):
            seen.append(f"{name}{step}")
            wait()

    passes = [Pass(lambda name=name: work(name)) for name in "ab"]
    for _ in range(2):
        for one in passes:
            one.go_on()
    assert seen == ["a0", "b0", "a1", "b1"]
    assert all(one.go_on() for one in passes)


def test_an_exception_is_raised_by_going_on():
    def work():
        wait()
        raise ZeroDivisionError

    one = Pass(work)
    one.go_on()
    with pytest.raises(ZeroDivisionError):
        one.go_on()


def test_dropped_work_runs_its_finally_clauses():
    seen = []

    def work():
        try:
            wait()
        finally:
            seen.append("closed")

    one = Pass(work)
    one.go_on()
    one.drop()
    assert seen == ["closed"]
    one.drop()  # nothing is left to drop
    Pass(work).drop()


def test_the_bytes_are_those_of_the_tensors_in_its_frames():
    parameter = nn.Parameter(torch.zeros(100))

    def inner(x):
        pair = (x, {"again": x})
        wait()
        return pair

    def work():
        weight, held = parameter, torch.zeros(10, dtype=torch.float64)
        inner(held)
        return weight

    one = Pass(work)
    assert one.nbytes == 0
    one.go_on()
    assert one.nbytes == 80
    one.go_on()


def test_a_context_variable_is_its_own():
    variable = contextvars.ContextVar("variable", default=0)

    def work():
        variable.set(1)
        wait()
        assert variable.get() == 1

    one = Pass(work)
    one.go_on()
    assert variable.get() == 0
    assert one.go_on()
