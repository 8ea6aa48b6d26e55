"""What should be gone: the columns that tell what is left, and the suites that cannot tell it."""

from __future__ import annotations

from collections.abc import Sequence

from retain.evaluate.columns import PairedSuite
from retain.evaluate.relearn import Relearning
from retain.evaluate.scores.gone_rows import gone_row
from retain.records.gone_record import GoneScore
from retain.records.metrics_table import EXACT_MATCH
from retain.verdict.column import Column
from retain.verdict.gone import GoneEvidence


def gone_scores(
    found: Sequence[PairedSuite], seed: int, relearning: Relearning | None
) -> list[tuple[GoneEvidence, GoneScore]]:
    """The evidence and the row of every metric of every suite of what should be gone.

    Args:
        found: all suites.
        seed: of the resamples.
        relearning: the relearning probe, where there was one.
    """
    asked = [one for one in found if one.suite.part == "gone"]
    probe = None if relearning is None else (relearning.steps, relearning.tokens, relearning.learning_rate)
    return [
        gone_row(column, one.items, seed, suites=len(asked), probe=probe)
        for one in asked
        for column in telling(one.columns)
    ]


def telling(columns: Sequence[Column]) -> list[Column]:
    """The columns that tell what is left: all that are right or wrong, but the strictest written form.

    An answer that is right by the letter is right by its words, too; that it is in another form does not show that it
    is gone.
    """
    found = [column for column in columns if column.metric.right_or_wrong]
    return [column for column in found if column.metric != EXACT_MATCH] or found
