"""Sentences on the worth of data before any model is loaded."""

from __future__ import annotations

import pytest

from retain.data.examples import Example
from retain.data.item_types import LabelledText
from retain.evaluate.suites.suite import Suite, Suites
from retain.jobs.inputs.evidence_told import evidence_told, no_step_problems, training_told, unread_sentence

ROWS = [Example(prompt=f"p {n}", completion="c") for n in range(12)]


@pytest.mark.parametrize(
    ("count", "batch", "told"),
    [(1, 8, "only 1 row"), (9, 8, "only 9 rows"), (12, 64, "fewer than one batch of 64"), (12, 12, "")],
)
def test_few_rows_are_told(count, batch, told):
    assert told in "".join(training_told(ROWS[:count], batch))
    assert bool(training_told(ROWS[:count], batch)) == bool(told)


def test_only_full_batches_may_be_none():
    assert no_step_problems(12, 13, drops_last=False) == no_step_problems(12, 12, drops_last=True) == []
    assert "--batch-size 12" in no_step_problems(12, 13, drops_last=True)[0]
    assert no_step_problems(12, 6, drops_last=True, processes=2) == []
    assert "each of 2 processes" in (told := no_step_problems(12, 7, drops_last=True, processes=2)[0])
    assert "--batch-size 6." in told
    assert "in fewer processes" in no_step_problems(3, 7, drops_last=True, processes=4)[0]


def test_what_can_be_had_without_reading():
    skewed = [LabelledText(text=f"t {n}", label="b" if n % 5 else "a") for n in range(20)]
    sentence = unread_sentence(Suite("s", "labels", "keep", skewed))
    assert sentence == "s: 80% of its answers can be had without reading (always 'b'); that counts as chance."
    even = [LabelledText(text=f"t {n}", label="abcd"[n % 4]) for n in range(20)]
    assert evidence_told(ROWS, Suites([Suite("s", "labels", "keep", even)]), 8) == []
    assert evidence_told(ROWS, Suites([Suite("s", "labels", "gone", skewed)]), 8) == []  # there luck alone counts
