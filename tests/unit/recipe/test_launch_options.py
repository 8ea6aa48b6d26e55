"""The fields of the processes: what is known, what is refused, and that one process is none of its own."""

import pytest
from pydantic import ValidationError

from retain.recipe.launch_options import LaunchOptions


@pytest.mark.parametrize(
    ("launch", "launched"),
    [({}, False), ({"processes": 1}, False), ({"processes": 2}, True), ({"config": "a.yaml", "machine_rank": 1}, True)],
)
def test_one_process_is_the_job_itself(launch, launched):
    assert LaunchOptions(launch=launch).is_launched is launched


@pytest.mark.parametrize(
    ("launch", "words"),
    [
        (2, "expected fields, as"),
        ({"processes": 0}, "1 or more"),
        ({"processes": True}, "a whole number"),
        ({"processes": "2x"}, "a whole number"),
        ({"config": 3}, "the name of a file"),
        ({"process": 2}, "is none of its fields"),
        ({"processes": 2, "config": "a.yaml"}, "give one"),
        ({"machine_rank": 1}, "needs config"),
        ({"config": "a.yaml", "machine_rank": -1}, "0 or more"),
    ],
)
def test_what_cannot_be_meant_is_refused(launch, words):
    with pytest.raises(ValidationError, match=words):
        LaunchOptions(launch=launch)
