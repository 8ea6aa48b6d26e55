"""The measurement of a pair: predictions of both sides, held-out text, drift, and the verdict on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from retain.data.batches import Batching
from retain.data.copies import copies_sentence
from retain.data.lengths import beyond_training, lowered
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
from retain.evaluate.predictions import Predictions, collect_predictions, conditions
from retain.evaluate.scores.rows import keep_row, task_row
from retain.evaluate.suites.suite import Part, Settings, Suite, Suites
from retain.evaluate.tasks.remarks import remarks_on
from retain.evaluate.tasks.table import task_type_of
from retain.events import Events
from retain.hf.models.inference import padding_id
from retain.hf.models.memory import telling_memory
from retain.records.drift_record import Drift
from retain.records.items import Item
from retain.records.metrics_table import CROSS_ENTROPY
from retain.records.result import Conditions, SuiteFacts
from retain.records.scores import Breakdown, CalibrationScore, KeepScore, Shift, TaskScore
from retain.records.verdicts import Judgement
from retain.verdict.column import Column, column_of_items
from retain.verdict.evidence import Evidence, evaluate
from retain.verdict.judge import HELD_OUT_TEXT, RunEvidence, held_out_columns, judge_run
from retain.verdict.verdict import Margins

DRIFT_ITEMS = 8
"""Items of the task, and of a retention suite, whose layer inputs and hidden states are compared."""


@dataclass(frozen=True)
class Measured:
    """Scores, verdict and drift of a tuned model against its base, and every item behind them.

    Scores and judgement are views of `evidence`.
    """

    evidence: RunEvidence
    judgement: Judgement
    task: tuple[TaskScore, ...]
    keep: tuple[KeepScore, ...]
    breakdowns: tuple[Breakdown, ...]
    shifts: tuple[Shift, ...]
    calibration: tuple[CalibrationScore, ...]
    drift: Drift
    conditions: dict[Literal["base", "tuned"], Conditions]
    suites: tuple[SuiteFacts, ...]
    margins: tuple[float, float]
    smallest_gains: tuple[float, float]
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
    """Measure a tuned model against its base on the same items with the same settings.

    Args:
        pair: the two sides.
        preprocessor: that of the base; both sides get the same inputs.
        suites: the items.
        settings: how items become inputs and scores.
        events: receives the progress.
        base_predictions: of the untouched base, where they were collected before.

    Raises:
        RetainError: the conditions of the two sides differ, so that nothing may be compared; or memory ran out.
    """
    with telling_memory("measuring"):
        return _measured(_Sides(pair, preprocessor, suites, settings, events), base_predictions)


def _measured(sides: _Sides, base_predictions: Predictions | None) -> Measured:
    """Both sides' predictions, the held-out text, the drift, and the verdict on them."""
    pair, preprocessor, suites, settings, events = (
        sides.pair, sides.preprocessor, sides.suites, sides.settings, sides.events,
    )  # fmt: skip
    _check_alike(*sides.conditions())  # before much is done
    base = sides.predictions(of_base=True) if base_predictions is None else base_predictions
    tuned = sides.predictions(of_base=False, batching=base.batching)
    if tuned.batching != base.batching:
        base = sides.predictions(of_base=True, batching=tuned.batching)
    sides = replace(sides, batching=tuned.batching)
    _check_alike(base.conditions, tuned.conditions)
    windows, texts, sums = sides.held_out()
    found = [paired(suite, base, tuned) for suite in suites.all]
    scores = {one.suite.name: [item.base.scores for item in one.items] for one in found}
    aa_check = run_aa_check(pair, preprocessor, suites.all, settings, scores, events, windows, batching=base.batching)
    of_text = tuple(held_out_items(windows, texts, sums))
    items = (*(item for one in found for item in one.items), *of_text)
    seed, facts = settings.seed, tuple(_facts(suite, settings) for suite in suites.all)
    learned = [_evidence(column, seed) for one in found if one.suite.part == "task" for column in one.columns]
    kept = [keep_row(column, seed) for one in found if one.suite.part == "keep" for column in one.columns]
    domains = held_out_columns(of_text)
    evidence = RunEvidence(
        tuple(learned), tuple(one for one, _ in kept), tuple(_evidence(column, seed) for column in domains)
    )
    margins = Margins(settings.margin, settings.margin_nats, settings.smallest_gain, settings.smallest_gain_nats)
    return Measured(
        evidence=evidence,
        judgement=judge_run(evidence, margins, aa_check),
        task=_task_scores(found, learned, seed, margins),
        keep=tuple(score for _, score in kept),
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
        smallest_gains=(margins.gain, margins.gain_nats),
        resampling_seed=seed,
        items=items,
        notes=(
            *_notes(base, suites.all, preprocessor, settings),
            *copies_told(suites.all),
            *_unchanged(items),
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


def _check_alike(base: Conditions, tuned: Conditions) -> None:
    unlike = [name for name in Conditions.model_fields if getattr(base, name) != getattr(tuned, name)]
    if unlike:
        found = "; ".join(f"{name}: base {getattr(base, name)}, tuned {getattr(tuned, name)}" for name in unlike)
        raise RetainError(
            f"base and tuned model were not measured alike ({found}), so they cannot be compared: load both with the "
            "same dtype (dtype=torch.float32 or --dtype float32 holds the values of any), attention and device, and "
            "give both the same tokenizer; or give the model with its adapter alone, whose base is inside it. Where "
            "only input_hash differs, see that both name the same eos_token_id in their generation_config."
        )


def _notes(base: Predictions, suites: Sequence[Suite], preprocessor: Preprocessor, settings: Settings) -> list[str]:
    """Notes on suites, on how items were read, on a length that the model lowers, and on items that are cut."""
    notes = remarks_on(suites)
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


@dataclass(frozen=True)
class _Sides:
    """Both models, and what they are measured on."""

    pair: Pair
    preprocessor: Preprocessor
    suites: Suites
    settings: Settings
    events: Events
    batching: Batching = "padded"

    def predictions(self, *, of_base: bool, batching: Batching = "padded") -> Predictions:
        """The predictions of one side on all items, read as far apart as the other side is, or farther."""
        label = "the base answers" if of_base else "the tuned model answers"
        with self.pair.base() if of_base else self.pair.tuned() as model:
            return collect_predictions(
                model,
                self.preprocessor,
                self.suites.all,
                self.settings,
                self.events,
                label,
                batching=None if batching == "padded" else batching,
            )

    def conditions(self) -> tuple[Conditions, Conditions]:
        """The conditions of both sides, as far as they are known before anything is put to them."""
        with self.pair.base() as model:
            base = conditions(model, self.preprocessor, "")
        with self.pair.tuned() as model:
            return base, conditions(model, self.preprocessor, "")

    def held_out(self) -> tuple[list[Window], list[str], WindowSums]:
        """Windows of held-out text, the tokens shared evenly by its domains; their text; the sums of both models."""
        if not self.suites.held_out_text or not self.preprocessor.reads_text:
            return [], [], WindowSums()
        tokenizer = self.preprocessor.tokenizer
        windows = windows_of(self.preprocessor, self.suites.held_out_text, self.settings)
        sums = self._sums(windows, "held-out text, both models") if windows else WindowSums()
        return windows, [tokenizer.decode(window.ids) for window in windows], sums

    def drift(self, windows: Sequence[Window], sums: WindowSums, language: Evidence | None) -> Drift:
        """The drift of the model: on held-out text, on the task, in its weights and hidden states.

        Args:
            windows: of held-out text.
            sums: of both models on them.
            language: the cross-entropy of all held-out text together.
        """
        found = self._summary(sums, language) if sums.tokens else Drift()
        update = self._task_kl()
        if self.settings.drift:
            keep = [_window_batch(window) for window in windows[:2]] or self._batches("keep")
            found = found.joined(measure_drift(self.pair, keep, self._batches("task"), self.events))
        return found.model_copy(update=update)

    def _sums(self, windows: Sequence[Window], label: str) -> WindowSums:
        pad_id = padding_id(self.preprocessor.tokenizer)
        return read_windows(self.pair, windows, pad_id, self.events, label, batching=self.batching)

    def _summary(self, sums: WindowSums, language: Evidence | None = None) -> Drift:
        return drift_summary(sums, np.random.default_rng(self.settings.seed), language)

    def _task_kl(self) -> dict[str, Any]:
        """KL(base ‖ tuned) on the task's own items, where the model predicts their tokens."""
        windows, room = [], self.settings.task_tokens
        for ids in (ids for suite in self.suites.of("task") for ids in self._sequences(suite)):
            if room <= 0:
                break
            windows.append(Window(ids))
            room -= len(ids)
        if not windows:
            return {}
        found = self._summary(self._sums(windows, "the task's text, both models"))
        return {"kl_task_nats_per_token": found.kl_nats_per_token, "kl_task_interval": found.kl_interval}

    def _batches(self, part: Part) -> list[dict[str, Any]]:
        """Model inputs of the first items of the first suite of a part that can be read."""
        for suite in self.suites.of(part):
            items = suite.items[:DRIFT_ITEMS]
            sequences = self._sequences(replace(suite, items=items))
            if batches := [_window_batch(Window(ids)) for ids in sequences]:
                return batches
            if items and task_type_of(suite).in_batches:
                return [self.preprocessor.batch(items)]
        return []

    def _sequences(self, suite: Suite) -> Iterator[tuple[int, ...]]:
        """Token ids of the items of which a language model predicts each token, if any."""
        if self.preprocessor.reads_text:
            tokenizer, length = self.preprocessor.tokenizer, self.preprocessor.room()
            yield from task_type_of(suite).sequences(suite.items, tokenizer, length)


def _window_batch(window: Window) -> dict[str, Any]:
    ids = torch.tensor([list(window.ids)])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
