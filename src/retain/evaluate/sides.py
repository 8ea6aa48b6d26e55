"""The two sides of a measurement: what is asked of both, whichever way they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from retain.data.batches import Batching
from retain.data.preprocess import Preprocessor
from retain.errors import RetainError
from retain.evaluate.aa_check import run_aa_check
from retain.evaluate.drift.movement import measure_drift
from retain.evaluate.drift.summary import drift_summary
from retain.evaluate.held_out import Window, WindowSums, read_windows, windows_of
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions, collect_predictions, conditions
from retain.evaluate.relearn import Probe, Relearning, answers_of, rate_of, relearned, without_answers
from retain.evaluate.suites.suite import Part, Settings, Suite, Suites
from retain.evaluate.tasks.table import task_type_of
from retain.events import Events
from retain.hf.models.inference import padding_id
from retain.records.drift_record import Drift
from retain.records.result import Conditions
from retain.records.verdicts import AACheck
from retain.verdict.evidence import Evidence

DRIFT_ITEMS = 8
"""Items of the task, and of a retention suite, whose layer inputs and hidden states are compared."""


class Sides(Protocol):
    """Base and tuned side, and what they are measured on.

    Attributes:
        preprocessor: makes the inputs of both.
        suites: the items.
        settings: how items become inputs and scores.
    """

    @property
    def preprocessor(self) -> Preprocessor:
        """See above."""

    @property
    def suites(self) -> Suites:
        """See above."""

    @property
    def settings(self) -> Settings:
        """See above."""

    def read_as(self, batching: Batching) -> Sides:
        """The same, with other items read together."""

    def check_alike(self, base: Conditions, tuned: Conditions) -> None:
        """Refuse two sides that were not measured under the same conditions."""

    def conditions(self) -> tuple[Conditions, Conditions]:
        """The conditions of both sides, as far as they are known before anything is put to them."""

    def notes(self) -> list[str]:
        """Sentences for the record on the two sides."""

    def predictions(self, *, of_base: bool, batching: Batching = "padded") -> Predictions:
        """The predictions of one side on all items."""

    def held_out(self) -> tuple[list[Window], list[str], WindowSums]:
        """Windows of held-out text, their text, and the sums of both sides."""

    def aa_check(
        self, scores: Mapping[str, Sequence[Mapping[str, float]]], windows: Sequence[Window]
    ) -> AACheck | None:
        """The A/A check of the base."""

    def drift(self, windows: Sequence[Window], sums: WindowSums, language: Evidence | None) -> Drift:
        """The drift between the two."""

    def relearned(
        self, windows: Sequence[Window], texts: Sequence[str], batching: Batching
    ) -> tuple[Predictions, Relearning] | None:
        """What the tuned side makes of what should be gone after relearning; None where that is not asked."""


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


@dataclass(frozen=True)
class PairSides:
    """Two models of transformers, and what they are measured on; see `Sides`."""

    pair: Pair
    preprocessor: Preprocessor
    suites: Suites
    settings: Settings
    events: Events
    batching: Batching = "padded"

    def read_as(self, batching: Batching) -> PairSides:
        """The same, with other items read together."""
        return replace(self, batching=batching)

    def check_alike(self, base: Conditions, tuned: Conditions) -> None:
        """Refuse two sides that were not measured under the same conditions.

        Raises:
            RetainError: they were not.
        """
        _check_alike(base, tuned)

    def notes(self) -> list[str]:
        """Nothing: what is to be said of two models is said where they are opened."""
        return []

    def aa_check(
        self, scores: Mapping[str, Sequence[Mapping[str, float]]], windows: Sequence[Window]
    ) -> AACheck | None:
        """The A/A check of the base; see `run_aa_check`."""
        suites, batching = self.suites.all, self.batching
        return run_aa_check(
            self.pair, self.preprocessor, suites, self.settings, scores, self.events, windows, batching=batching
        )

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
                base=None if of_base else self.pair.base,
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

    def relearned(
        self, windows: Sequence[Window], texts: Sequence[str], batching: Batching
    ) -> tuple[Predictions, Relearning] | None:
        """What the tuned model makes of what should be gone after some steps on held-out text; see `relearn`.

        Args:
            windows: of held-out text.
            texts: the text of each.
            batching: which items are read together, as before.

        Raises:
            RetainError: no window is without an old answer, or the tuned weights cannot be trained.
        """
        asked, steps = self.suites.of("gone"), self.settings.relearn
        if not asked or not steps:
            return None
        apart = without_answers(windows, texts, answers_of(asked))
        if not apart:
            raise RetainError(
                "relearn: an old answer stands in every window of the held-out text, so that training on it would "
                "teach it again; give held_out_text of other things."
            )
        probe = Probe(apart, steps, padding_id(self.preprocessor.tokenizer), self.settings.seed)
        bar = self.events.task("relearning: steps on other text", total=steps)
        with self.pair.tuned() as model, relearned(model, probe, bar):
            found = collect_predictions(
                model,
                self.preprocessor,
                asked,
                self.settings,
                self.events,
                "the tuned model answers after relearning",
                base=self.pair.base,
                batching=batching,
            )
        return found, Relearning(steps, probe.tokens, rate_of(self.pair.tuned_model), len(windows) - len(apart))

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
