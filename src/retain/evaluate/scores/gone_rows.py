"""The rows of a record on what should be gone: counts of answers, what is left, the likelihood of the old answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from retain.records.gone_record import GoneScore, Relearned
from retain.records.items import Item, Side
from retain.records.metrics_table import OLD_ANSWER
from retain.stats.mcnemar import SIGNIFICANCE
from retain.verdict.column import Column, column_of_items, scored_by
from retain.verdict.evidence import evaluate
from retain.verdict.gone import GoneEvidence, gone_evidence
from retain.verdict.gone_items import after_relearning, gone_of_column


def gone_row(
    column: Column, items: Sequence[Item], seed: int, *, suites: int, probe: tuple[int, int, float] | None = None
) -> tuple[GoneEvidence, GoneScore]:
    """The evidence on a suite of what should be gone by one metric, and its row.

    Args:
        column: values before and after.
        items: of the suite.
        seed: of the resamples.
        suites: of what should be gone in the report.
        probe: steps, tokens and learning rate of the relearning probe, where there was one.
    """
    found = gone_of_column(column, items, suites=suites)
    having = scored_by(items, column.metric)
    written = found.declined is not None
    others = found.known - found.left - (found.declined or 0) - (found.silent or 0)
    row = GoneScore(
        name=column.suite,
        metric=column.metric,
        n=found.n,
        units=found.units,
        chance=column.chance,
        base=found.base,
        tuned=found.tuned,
        known=found.known,
        left=found.left,
        declined=found.declined,
        silent=found.silent,
        otherwise=others if written else None,
        share=found.remaining.share,
        bound=None if found.base_guesses else found.withheld.bound(SIGNIFICANCE),
        cut_off=found.cut_off,
    )
    return found, row.model_copy(update=_old_answers(having, seed) | _relearned(column, items, probe))


def _old_answers(items: Sequence[Item], seed: int) -> dict[str, object]:
    """The likelihood of the old answer on both sides; nothing where it is not known."""
    if not items or any(OLD_ANSWER.name not in side.scores for item in items for side in (item.base, item.tuned)):
        return {}
    nats = evaluate(column_of_items(items[0].suite, OLD_ANSWER, items), np.random.default_rng(seed))
    ends = nats.interval
    return {
        "old_answer_base": math.exp(-nats.base),
        "old_answer_tuned": math.exp(-nats.tuned),
        "old_answer_change": 0.0 - nats.change,
        "old_answer_interval": None if ends is None else (0.0 - ends[1], 0.0 - ends[0]),
    }


def _relearned(column: Column, items: Sequence[Item], probe: tuple[int, int, float] | None) -> dict[str, object]:
    """What is left after relearning; nothing where that was not asked."""
    after = None if probe is None else after_relearning(column, items)
    if after is None or probe is None:
        return {}
    remaining = gone_evidence(after).remaining
    steps, tokens, rate = probe
    return {
        "relearned": Relearned(
            steps=steps,
            tokens=tokens,
            learning_rate=rate,
            known=remaining.n_known,
            left=remaining.n_left,
            share=remaining.share,
            bound=remaining.bound(SIGNIFICANCE),
            old_answer=_mean_probability([item.relearned for item in items]),
        )
    }


def _mean_probability(sides: Sequence[Side | None]) -> float | None:
    nats = [side.scores[OLD_ANSWER.name] for side in sides if side is not None and OLD_ANSWER.name in side.scores]
    return math.exp(-float(np.mean(nats))) if nats else None
