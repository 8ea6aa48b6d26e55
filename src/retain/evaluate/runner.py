"""The measurement itself: both sides' answers, the held-out text, the movement of the model, put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from retain.data.preprocess import Preprocessor
from retain.errors import RetainError
from retain.evaluate.aa_check import run_aa_check
from retain.evaluate.calibrations import calibrations
from retain.evaluate.columns import PairedSuite, breakdowns, domain_breakdowns, held_out_items, paired, set_scores
from retain.evaluate.distribution_shift import measured_shifts
from retain.evaluate.drift.movement import measure_drift
from retain.evaluate.drift.summary import drift_summary
from retain.evaluate.held_out import Window, WindowSums, read_windows, windows_of
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions, collect_predictions
from retain.evaluate.scores.rows import keep_row, task_row
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.evaluate.tasks.table import task_type_of
from retain.events import Events
from retain.hf.models.inference import padding_id
from retain.records.drift_record import Drift
from retain.records.items import Item
from retain.records.metrics_table import CROSS_ENTROPY
from retain.records.result import Conditions, SuiteFacts
from retain.records.scores import Breakdown, Calibration, KeepScore, Shift, TaskScore
from retain.records.verdicts import Judgement
from retain.verdict.column import Column, column_of_items
from retain.verdict.evidence import Evidence, evaluate
from retain.verdict.judge import HELD_OUT_TEXT, RunEvidence, held_out_columns, judge_run
from retain.verdict.verdict import Margins

DRIFT_ITEMS = 8
"""Items of the task, and of a retention suite, whose layer inputs and hidden states are looked at."""


@dataclass(frozen=True)
class Measured:
    """What was learned, what was lost, how far the model moved, and every item behind it.

    `evidence` is what scores and judgement are views of.
    """

    evidence: RunEvidence
    judgement: Judgement
    task: tuple[TaskScore, ...]
    keep: tuple[KeepScore, ...]
    breakdowns: tuple[Breakdown, ...]
    shifts: tuple[Shift, ...]
    calibration: tuple[Calibration, ...]
    drift: Drift
    conditions: dict[Literal["base", "tuned"], Conditions]
    suites: tuple[SuiteFacts, ...]
    margins: tuple[float, float]
    resampling_seed: int
    items: tuple[Item, ...]
    notes: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """The record's fields that the measurement fills."""
        names = (
            "judgement",
            "margins",
            "resampling_seed",
            "task",
            "keep",
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
    base_predictions: Predictions | None = None,
) -> Measured:
    """Measure tuned against base on the same items, put in the same way.

    Args:
        pair: the two sides.
        preprocessor: that of the base; both sides read the same inputs.
        suites: the items.
        settings: how they are put.
        events: receives the progress.
        base_predictions: the untouched base's answers, where they were collected before.

    Raises:
        RetainError: the two sides were not asked alike; nothing may be compared then.
    """
    base = base_predictions
    if base is None:
        with pair.base() as model:
            base = collect_predictions(model, preprocessor, suites.all, settings, events, "the base answers")
    with pair.tuned() as model:
        tuned = collect_predictions(model, preprocessor, suites.all, settings, events, "the tuned model answers")
    _check_alike(base.conditions, tuned.conditions)
    windows, texts, sums = _held_out(pair, preprocessor, suites, settings, events)
    found = [paired(suite, base, tuned) for suite in suites.all]
    scores = {one.suite.name: [item.base.scores for item in one.items] for one in found}
    aa_check = run_aa_check(pair, preprocessor, suites.all, settings, scores, events, windows)
    of_text = tuple(held_out_items(windows, texts, sums))
    items = (*(item for one in found for item in one.items), *of_text)
    seed, facts = settings.seed, tuple(_facts(suite, settings) for suite in suites.all)
    learned = [_evidence(column, seed) for one in found if one.suite.part == "task" for column in one.columns]
    kept = [keep_row(column, seed) for one in found if one.suite.part == "keep" for column in one.columns]
    domains = held_out_columns(of_text)
    evidence = RunEvidence(
        tuple(learned), tuple(one for one, _ in kept), tuple(_evidence(column, seed) for column in domains)
    )
    margins = Margins(settings.margin, settings.margin_nats)
    return Measured(
        evidence=evidence,
        judgement=judge_run(evidence, margins, aa_check),
        task=_task_scores(found, learned, seed),
        keep=tuple(score for _, score in kept),
        breakdowns=(
            *(part for one in found for part in breakdowns(one, seed)),
            *domain_breakdowns(windows, sums, domains, seed),
        ),
        shifts=tuple(measured_shifts(items, facts, seed)),
        calibration=tuple(part for one in found for part in calibrations(one)),
        drift=_drift(pair, preprocessor, suites, settings, (windows, sums, _language(of_text, evidence, seed)), events),
        conditions={"base": base.conditions, "tuned": tuned.conditions},
        suites=facts,
        margins=(settings.margin, settings.margin_nats),
        resampling_seed=seed,
        items=items,
        notes=tuple(_notes(base, settings)),
    )


def _evidence(column: Column, seed: int) -> Evidence:
    return evaluate(column, np.random.default_rng(seed))


def _task_scores(found: Sequence[PairedSuite], learned: Sequence[Evidence], seed: int) -> tuple[TaskScore, ...]:
    """The rows of each task: its metrics, then those of the whole set."""
    rows: list[TaskScore] = []
    for one in found:
        if one.suite.part == "task":
            rows += [task_row(evidence) for evidence in learned if evidence.suite == one.suite.name]
            rows += set_scores(one, seed)
    return tuple(rows)


def _language(items: Sequence[Item], evidence: RunEvidence, seed: int) -> Evidence | None:
    """The cross-entropy of all held-out text together; None where there is none."""
    if len(evidence.held_out) == 1:
        return evidence.held_out[0]
    return _evidence(column_of_items(HELD_OUT_TEXT, CROSS_ENTROPY, items), seed) if items else None


def _check_alike(base: Conditions, tuned: Conditions) -> None:
    unlike = [name for name in Conditions.model_fields if getattr(base, name) != getattr(tuned, name)]
    if unlike:
        told = "; ".join(f"{name}: base {getattr(base, name)}, tuned {getattr(tuned, name)}" for name in unlike)
        raise RetainError(
            f"base and tuned model were not asked alike ({told}), so they cannot be compared: load both with the same "
            "dtype, attention and device, and give both the same tokenizer. Where only input_hash differs, "
            "see that both name the same eos_token_id in their generation_config."
        )


def _notes(base: Predictions, settings: Settings) -> list[str]:
    return [
        f"{cut} items of {name} were longer than {settings.max_length} tokens and were cut."
        for name, cut in base.truncated.items()
        if cut
    ]


def _facts(suite: Suite, settings: Settings) -> SuiteFacts:
    known = {name: value for name, value in suite.facts.items() if name in SuiteFacts.model_fields}
    known |= task_type_of(suite).facts(settings)
    return SuiteFacts(**{**known, "name": suite.name, "task_type": suite.task_type, "part": suite.part})


def _held_out(
    pair: Pair, preprocessor: Preprocessor, suites: Suites, settings: Settings, events: Events
) -> tuple[list[Window], list[str], WindowSums]:
    """Windows of held-out text, the tokens shared evenly by its domains; their text; what both models made of them."""
    if not suites.held_out_text or not preprocessor.reads_text:
        return [], [], WindowSums()
    tokenizer = preprocessor.tokenizer
    windows = windows_of(tokenizer, suites.held_out_text, settings)
    sums = WindowSums()
    if windows:
        sums = read_windows(pair, windows, padding_id(tokenizer), events, "held-out text, both models")
    return windows, [tokenizer.decode(window.ids) for window in windows], sums


def _drift(
    pair: Pair,
    preprocessor: Preprocessor,
    suites: Suites,
    settings: Settings,
    held_out_text: tuple[list[Window], WindowSums, Evidence | None],
    events: Events,
) -> Drift:
    windows, sums, language = held_out_text
    found = Drift()
    if sums.tokens:
        found = _summary(sums, settings, language)
    update = _task_kl(pair, preprocessor, suites, settings, events)
    if settings.drift:
        keep = [_window_batch(window) for window in windows[:2]] or _batches(preprocessor, suites.of("keep"), settings)
        moved = measure_drift(pair, keep, _batches(preprocessor, suites.of("task"), settings), events)
        found = found.joined(moved)
    return found.model_copy(update=update)


def _summary(sums: WindowSums, settings: Settings, language: Evidence | None = None) -> Drift:
    return drift_summary(sums, np.random.default_rng(settings.seed), language)


def _window_batch(window: Window) -> dict[str, Any]:
    ids = torch.tensor([list(window.ids)])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _batches(preprocessor: Preprocessor, suites: Sequence[Suite], settings: Settings) -> list[dict[str, Any]]:
    """The first items of the first suite that can be read, as the model's inputs."""
    for suite in suites:
        items = suite.items[:DRIFT_ITEMS]
        sequences = _sequences(preprocessor, replace(suite, items=items), settings)
        if batches := [_window_batch(Window(ids)) for ids in sequences]:
            return batches
        if items and task_type_of(suite).in_batches:
            return [preprocessor.batch(items)]
    return []


def _sequences(preprocessor: Preprocessor, suite: Suite, settings: Settings) -> Iterator[tuple[int, ...]]:
    """Token ids of the items of which a language model predicts each token, if any."""
    if preprocessor.reads_text:
        yield from task_type_of(suite).sequences(suite.items, preprocessor.tokenizer, settings.max_length)


def _task_kl(
    pair: Pair, preprocessor: Preprocessor, suites: Suites, settings: Settings, events: Events
) -> dict[str, Any]:
    """KL(base ‖ tuned) on the task's own items, where the model predicts their tokens."""
    windows, room = [], settings.task_tokens
    for ids in (ids for suite in suites.of("task") for ids in _sequences(preprocessor, suite, settings)):
        if room <= 0:
            break
        windows.append(Window(ids))
        room -= len(ids)
    if not windows:
        return {}
    sums = read_windows(pair, windows, padding_id(preprocessor.tokenizer), events, "the task's text, both models")
    found = _summary(sums, settings)
    return {"kl_task_nats_per_token": found.kl_nats_per_token, "kl_task_interval": found.kl_interval}
