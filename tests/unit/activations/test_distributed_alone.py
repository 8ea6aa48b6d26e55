"""Alone, adding up over processes changes nothing."""

import pytest

from retain.activations.distributed import anywhere, gathered, processes, rank, shared_out, wait


def test_one_process_is_the_first_of_one():
    assert (processes(), rank()) == (1, 0)
    assert wait() is None


@pytest.mark.parametrize("happened", [True, False])
def test_what_happened_here_happened_anywhere(happened):
    assert anywhere(happened) is happened


def test_values_are_gathered_and_work_is_done_here():
    assert gathered("a") == ["a"]
    assert shared_out(["x", "y"], lambda name: {"name": name}) == {"x": {"name": "x"}, "y": {"name": "y"}}
