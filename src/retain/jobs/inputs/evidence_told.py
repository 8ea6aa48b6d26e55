"""What can be said of the worth of data as evidence before any model is loaded: copies, and what needs no reading."""

from __future__ import annotations

from collections.abc import Sequence

from retain.data.contradictions import contradictions_clause
from retain.data.copies import copies_sentence, repeats_sentence
from retain.data.item import DataItem
from retain.data.row_limit import Sample, of_read
from retain.evaluate.suites.suite import Suite, Suites
from retain.evaluate.tasks.table import task_type_of

WORTH_TELLING = 0.5
"""A suite of which less can be had without reading is not mentioned."""


FEWEST_ROWS = 10
"""Fewer training rows than this are told as what they are."""


def evidence_told(
    train: Sequence[DataItem], suites: Suites, batch_size: int, sample: Sample | None = None
) -> list[str]:
    """Sentences on few and repeated training rows, on copies in each suite, and on answers that need no reading."""
    told = training_told(train, batch_size, sample)
    for suite in suites.all:
        told.append(copies_sentence(suite.name, suite.items))
        told += [] if suite.part == "gone" else [unread_sentence(suite)]  # of what should be gone only luck counts
    return [sentence for sentence in told if sentence]


def training_told(train: Sequence[DataItem], batch_size: int, sample: Sample | None = None) -> list[str]:
    """Sentences on training data that are few or repeat themselves; none where they are neither.

    Args:
        train: the items.
        batch_size: of a step.
        sample: which rows they are of, where not all were read.
    """
    contradiction, name = contradictions_clause(train), of_read("train", sample)
    told = [repeats_sentence(train, name), f"{name}: {contradiction}." if contradiction else ""]
    total = len(train) if sample is None else sample.total
    if total < FEWEST_ROWS:
        rows = (
            "1 row: what can be learned is this row"
            if total == 1
            else f"{total} rows: what can be learned is these rows"
        )
        told.append(f"train: only {rows}, hardly a task.")
    elif total < batch_size:
        told.append(f"train: {total} rows are fewer than one batch of {batch_size}: each step sees all of them.")
    return [sentence for sentence in told if sentence]


def no_step_problems(rows: int, batch_size: int, *, drops_last: bool, processes: int = 1) -> list[str]:
    """A sentence where a training would have no step, because only full batches count and there is none."""
    if not drops_last or rows >= batch_size * processes:
        return []
    each = f"{batch_size}" if processes == 1 else f"{batch_size} for each of {processes} processes"
    found = f"{rows} training rows make no full batch of {each}, and what is left over would be dropped"
    cure = f"leave it out, or say --batch-size {max(rows // processes, 1)}"
    cure += ", in fewer processes" if rows < processes > 1 else ""
    return [f"training.dataloader_drop_last: {found}, so nothing would be trained; {cure}."]


def unread_told(suites: Sequence[Suite]) -> list[str]:
    """A sentence on each suite of which much can be had without reading."""
    return [sentence for suite in suites if (sentence := unread_sentence(suite))]


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
