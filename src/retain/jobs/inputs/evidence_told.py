"""What can be said of the worth of data as evidence before any model is loaded: copies, and what needs no reading."""

from __future__ import annotations

from collections.abc import Sequence

from retain.data.copies import copies_sentence, repeats_sentence
from retain.data.item import DataItem
from retain.evaluate.suites.suite import Suite, Suites
from retain.evaluate.tasks.table import task_type_of

WORTH_TELLING = 0.5
"""A suite of which less can be had without reading is not mentioned."""


def evidence_told(train: Sequence[DataItem], suites: Suites) -> list[str]:
    """Sentences on copies in the training data and in each suite, and on answers that need no reading."""
    told = [repeats_sentence(train)]
    for suite in suites.all:
        told += [copies_sentence(suite.name, suite.items), unread_sentence(suite)]
    return [sentence for sentence in told if sentence]


def unread_sentence(suite: Suite) -> str:
    """A sentence on a suite of which much can be had without reading; empty for others."""
    chance = task_type_of(suite).chance(suite)
    if chance.mean < WORTH_TELLING:
        return ""
    sentence = (
        f"{suite.name}: {chance.mean:.0%} of its answers can be had without reading ({chance.strategy}); that counts "
        "as chance"
    )
    return sentence + (", so it cannot show loss." if chance.mean > 0.995 else ".")
