"""The measurement of a pair: predictions of both sides, held-out text, drift, and the verdict on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from retain.data.copies import copies_sentence
from retain.data.lengths import beyond_training, lowered
from retain.data.preprocess import Preprocessor
from retain.evaluate.calibrations import calibrations
from retain.evaluate.columns import (
    PairedSuite,
    breakdowns,
    domain_breakdowns,
    held_out_items,
    paired,
    relearned_items,
    set_scores,
)
from retain.evaluate.distribution_shift import measured_shifts
from retain.evaluate.gone import gone_scores
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions, kept_note
from retain.evaluate.scores.rows import keep_row, task_row
from retain.evaluate.sides import PairSides, Sides
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.evaluate.tasks.remarks import remarks_on
from retain.evaluate.tasks.table import task_type_of
from retain.events import Events
from retain.hf.models.memory import telling_memory
from retain.records.drift_record import Drift
from retain.records.gone_record import GoneScore
from retain.records.items import Item
from retain.records.metrics_table import CROSS_ENTROPY
from retain.records.result import Conditions, SuiteFacts
from retain.records.scores import Breakdown, CalibrationScore, KeepScore, Shift, TaskScore
from retain.records.verdicts import Judgement
from retain.verdict.column import Column, column_of_items
from retain.verdict.evidence import Evidence, evaluate
from retain.verdict.judge import HELD_OUT_TEXT, RunEvidence, held_out_columns, judge_run
from retain.verdict.verdict import Margins

Known = Predictions | Callable[[], Predictions]
"""Predictions of the base that were collected before, or a function that has them or collects them."""


@dataclass(frozen=True)
class Measured:
    """Scores, verdict and drift of a tuned model against its base, and every item behind them.

    Scores and judgement are views of `evidence`.
    """

    evidence: RunEvidence
    judgement: Judgement
    task: tuple[TaskScore, ...]
    keep: tuple[KeepScore, ...]
    gone: tuple[GoneScore, ...]
    breakdowns: tuple[Breakdown, ...]
    shifts: tuple[Shift, ...]
    calibration: tuple[CalibrationScore, ...]
    drift: Drift
    conditions: dict[Literal["base", "tuned"], Conditions]
    suites: tuple[SuiteFacts, ...]
    margins: tuple[float, float]
    gone_margin: float | None
    smallest_gains: tuple[float, float]
    resampling_seed: int
    items: tuple[Item, ...]
    notes: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """The record's fields that the measurement fills."""
        names = (
            "judgement",
            "margins",
            "gone_margin",
            "resampling_seed",
            "task",
            "keep",
            "gone",
            "breakdowns",
            "shifts",
            "calibration",
            "drift",
            "conditions",
            "suites",
        )
        return {name: getattr(self, name) for name in names}


def measure_pair(
    pair: Pair,
    preprocessor: Preprocessor,
    suites: Suites,
    settings: Settings,
    events: Events,
    base_predictions: Known | None = None,
) -> Measured:
    """Measure a tuned model against its base on the same items with the same settings.

    Args:
        pair: the two sides.
        preprocessor: that of the base; both sides get the same inputs.
        suites: the items.
        settings: how items become inputs and scores.
        events: receives the progress.
        base_predictions: of the untouched base, where they were collected before, or what has or collects them.

    Raises:
        RetainError: the conditions of the two sides differ, so that nothing may be compared; or memory ran out.
    """
    with telling_memory("measuring"):
        return measure_sides(PairSides(pair, preprocessor, suites, settings, events), base_predictions)


def measure_sides(sides: Sides, base_predictions: Known | None = None) -> Measured:
    """Both sides' predictions, the held-out text, the drift, and the verdict on them; see `measure_pair`."""
    preprocessor, suites, settings = sides.preprocessor, sides.suites, sides.settings
    sides.check_alike(*sides.conditions())  # before much is done
    given = base_predictions() if callable(base_predictions) else base_predictions
    base = sides.predictions(of_base=True) if given is None else given
    tuned = sides.predictions(of_base=False, batching=base.batching)
    if tuned.batching != base.batching or (given is not None and tuned.conditions != base.conditions):
        base = sides.predictions(of_base=True, batching=tuned.batching)  # of another day, whose prompts were others
    sides = sides.read_as(tuned.batching)
    sides.check_alike(base.conditions, tuned.conditions)
    windows, texts, sums = sides.held_out()
    found = [paired(suite, base, tuned) for suite in suites.all]
    scores = {one.suite.name: [item.base.scores for item in one.items] for one in found}
    aa_check = sides.aa_check(scores, windows)
    again = sides.relearned(windows, texts, tuned.batching)
    if again is not None:
        found = [relearned_items(one, again[0]) if one.suite.part == "gone" else one for one in found]
    of_text = tuple(held_out_items(windows, texts, sums))
    items = (*(item for one in found for item in one.items), *of_text)
    seed, facts = settings.seed, tuple(_facts(suite, settings) for suite in suites.all)
    learned = [_evidence(column, seed) for one in found if one.suite.part == "task" for column in one.columns]
    kept = [keep_row(column, seed) for one in found if one.suite.part == "keep" for column in one.columns]
    gone = gone_scores(found, seed, None if again is None else again[1])
    domains = held_out_columns(of_text)
    evidence = RunEvidence(
        tuple(learned),
        tuple(one for one, _ in kept),
        tuple(_evidence(column, seed) for column in domains),
        tuple(one for one, _ in gone),
    )
    margins = Margins(
        settings.margin, settings.margin_nats, settings.smallest_gain, settings.smallest_gain_nats, settings.gone_margin
    )
    return Measured(
        evidence=evidence,
        judgement=judge_run(evidence, margins, aa_check),
        task=_task_scores(found, learned, seed, margins),
        keep=tuple(score for _, score in kept),
        gone=tuple(score for _, score in gone),
        breakdowns=(
            *(part for one in found for part in breakdowns(one, seed)),
            *domain_breakdowns(windows, sums, domains, seed),
        ),
        shifts=tuple(measured_shifts(items, facts, seed)),
        calibration=tuple(part for one in found for part in calibrations(one)),
        drift=sides.drift(windows, sums, _language(of_text, evidence, seed)),
        conditions={"base": base.conditions, "tuned": tuned.conditions},
        suites=facts,
        margins=(margins.share, margins.nats),
        gone_margin=margins.gone if gone else None,
        smallest_gains=(margins.gain, margins.gain_nats),
        resampling_seed=seed,
        items=items,
        notes=(
            *sides.notes(),
            *_notes(base, suites.all, preprocessor, settings),
            *copies_told(suites.all),
            *_unchanged(items),
            *(() if again is None else again[1].notes()),
        ),
    )


def _evidence(column: Column, seed: int) -> Evidence:
    return evaluate(column, np.random.default_rng(seed))


def _task_scores(
    found: Sequence[PairedSuite], learned: Sequence[Evidence], seed: int, margins: Margins
) -> tuple[TaskScore, ...]:
    """The rows of each task: its metrics, then those of the whole set."""
    rows: list[TaskScore] = []
    for one in found:
        if one.suite.part == "task":
            rows += [task_row(evidence, margins) for evidence in learned if evidence.suite == one.suite.name]
            rows += set_scores(one, seed, margins)
    return tuple(rows)


def _language(items: Sequence[Item], evidence: RunEvidence, seed: int) -> Evidence | None:
    """The cross-entropy of all held-out text together; None where there is none."""
    if len(evidence.held_out) == 1:
        return evidence.held_out[0]
    return _evidence(column_of_items(HELD_OUT_TEXT, CROSS_ENTROPY, items), seed) if items else None


def _fine_margins(settings: Settings) -> list[str]:
    """Notes on margins below one point of 100, which may have been meant as shares."""
    points = {"margin": settings.margin * 100, "gone_margin": settings.gone_margin * 100}
    return [
        f"{name}: {value:g} points of 100, as it was given; a share of {value:g} would be {value * 100:g} points."
        for name, value in points.items()
        if value < 1
    ]


def _notes(base: Predictions, suites: Sequence[Suite], preprocessor: Preprocessor, settings: Settings) -> list[str]:
    """Notes on suites, on how items were read, on a length that the model lowers, and on items that are cut."""
    notes = [*_fine_margins(settings), *remarks_on(suites), *kept_note(base)]
    if not preprocessor.reads_text:
        return notes
    positions = preprocessor.positions
    notes += lowered(settings.max_length, positions)
    if base.batching != "padded":
        apart = "one at a time" if base.batching == "single" else "in batches of one length"
        notes.append(
            "This model reads an item otherwise beside another (padding counts as text for it, or a batch is mixed), "
            f"so its items were read {apart}."
        )
    far = positions.trained is not None and preprocessor.room() > positions.trained
    longest = 0
    for suite in suites:
        if far or base.truncated.get(suite.name):
            cuts = task_type_of(suite).cuts(suite, preprocessor, settings)
            notes += cuts.sentences(len(suite.items), of=f"items of {suite.name}")
            longest = max(longest, cuts.longest)
    return [*notes, *beyond_training(longest, positions)]


def _unchanged(items: Sequence[Item]) -> list[str]:
    """A sentence where no item got another score."""
    scores = [(item.base.scores, item.tuned.scores) for item in items]
    if not scores or any(base[name] != tuned[name] for base, tuned in scores for name in base.keys() & tuned.keys()):
        return []
    return [
        "No item has another score than before, to the last digit: as far as was measured, the tuned model is the base."
    ]


def copies_told(suites: Sequence[Suite]) -> list[str]:
    """A sentence on each suite in which rows ask the same."""
    told = [copies_sentence(suite.name, suite.items) for suite in suites]
    return [sentence for sentence in told if sentence]


def _facts(suite: Suite, settings: Settings) -> SuiteFacts:
    known = {name: value for name, value in suite.facts.items() if name in SuiteFacts.model_fields}
    known |= task_type_of(suite).facts(settings)
    return SuiteFacts(**{**known, "name": suite.name, "task_type": suite.task_type, "part": suite.part})
