"""The two sides of a measurement of which one at least is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from retain.data.batches import Batching
from retain.data.preprocess import Preprocessor
from retain.data.tokens import Encoded
from retain.errors import RetainError
from retain.evaluate.aa_check import repeat_items
from retain.evaluate.drift.summary import drift_summary
from retain.evaluate.held_out import Window, WindowSums, windows_of
from retain.evaluate.predictions import Predictions, borne, conditions, predictions_by
from retain.evaluate.scores.without_reading import context_free_nats
from retain.evaluate.served.looks import counts_told
from retain.evaluate.served.predictor import NotingPredictor, ServedPredictor, TokenCounts
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.evaluate.tasks.predictor import LocalPredictor, Predictor
from retain.evaluate.tasks.table import task_type_of
from retain.events import Events, Task
from retain.hf.models.inference import evaluating
from retain.records.drift_record import Drift
from retain.records.result import Conditions
from retain.records.served_record import ALIKE_WHERE_SERVED
from retain.records.verdicts import AACheck
from retain.served.model import LanguageModel, ServedModel
from retain.verdict.evidence import Evidence

UNSEEN = "The weights and hidden states of a served model cannot be seen, so their drift is not measured."


@dataclass(frozen=True)
class ServedSides:
    """Base and tuned side, each a model of transformers or a served one; see `Sides`.

    Attributes:
        base: a model, or a served one.
        tuned: likewise.
        preprocessor: makes the inputs of both.
        suites: the items, in the form in which both sides can be asked (`fit_suites`).
        settings: how items become inputs and scores.
        events: receives the progress.
        vocabulary: the number of tokens that the base chooses among.
        ends: tokens that end an answer, on both sides.
        concurrency: requests at a time.
        told: sentences for the record.
        batching: which items a model of transformers is given together.
        counts: notes how servers count the tokens of prompts.
        answered: the tuned side's predictions, when they are there.
        later: sentences that only the measurement brings.
    """

    base: Any
    tuned: Any
    preprocessor: Preprocessor
    suites: Suites
    settings: Settings
    events: Events
    vocabulary: int
    ends: tuple[int, ...]
    concurrency: int = 8
    told: tuple[str, ...] = ()
    batching: Batching = "padded"
    counts: TokenCounts = field(default_factory=TokenCounts)
    answered: list[Predictions] = field(default_factory=list)
    later: list[str] = field(default_factory=list)

    def read_as(self, batching: Batching) -> ServedSides:
        """The same, with other items read together."""
        return replace(self, batching=batching)

    def check_alike(self, base: Conditions, tuned: Conditions) -> None:
        """Refuse sides that were not given the same tokens. That they run on different engines is the point.

        Raises:
            RetainError: they were not.
        """
        unlike = [name for name in ALIKE_WHERE_SERVED if getattr(base, name) != getattr(tuned, name)]
        if unlike:
            raise RetainError(f"base and served model were not asked alike ({', '.join(unlike)} differ).")

    def conditions(self) -> tuple[Conditions, Conditions]:
        """The conditions of both sides, as far as they are known before anything is put to them."""
        return self._known(self.base, ""), self._known(self.tuned, "")

    def notes(self) -> list[str]:
        """What was told beforehand, and what the counts and the repetition showed."""
        counted = counts_told(self.counts.unlike, self.counts.checked)
        return [*self.told, *filter(None, (counted,)), *self.later]

    def predictions(self, *, of_base: bool, batching: Batching = "padded") -> Predictions:
        """The predictions of one side on all items."""
        side, label = (self.base, "the base answers") if of_base else (self.tuned, "the served model answers")
        found = self._predictions(side, self.suites.all, label, None if batching == "padded" else batching)
        if not of_base:
            self.answered.append(found)
        return found

    def held_out(self) -> tuple[list[Window], list[str], WindowSums]:
        """Windows of held-out text, their text, and the log-likelihoods of both sides."""
        if not self.suites.held_out_text:
            return [], [], WindowSums()
        windows = windows_of(self.preprocessor, self.suites.held_out_text, self.settings)
        rows = [Encoded(tuple(window.ids), max(window.start, 1)) for window in windows]
        bar = self.events.task("held-out text, both models", total=2 * len(rows))
        base, tuned = (self.window_nats(side, rows, bar) for side in (self.base, self.tuned))
        parts = [row.ids[row.start :] for row in rows]
        sums = WindowSums(base, tuned, tokens=list(map(len, parts)))
        sums.unread_nll = context_free_nats(parts, self.vocabulary)
        return windows, [self.preprocessor.tokenizer.decode(window.ids) for window in windows], sums

    def relearned(self, windows: Sequence[Window], texts: Sequence[str], batching: Batching) -> None:
        """Nothing: what is served cannot be trained here."""

    def aa_check(
        self, scores: Mapping[str, Sequence[Mapping[str, float]]], windows: Sequence[Window]
    ) -> AACheck | None:
        """Some items put to the base again; a served base is asked anew, and not the answers that are kept."""
        del windows
        if not self.settings.aa_items:
            return None
        side = self.base.once_more() if isinstance(self.base, ServedModel) else self.base
        self._repeat_tuned()
        return repeat_items(self._again(side, "the base answers again"), self.suites.all, self.settings, scores)

    def _repeat_tuned(self) -> None:
        """Put some items to the tuned side again, and tell where a server answers otherwise than before."""
        if not isinstance(self.tuned, ServedModel) or not self.answered:
            return
        responses = self.answered[-1].responses
        scores = {
            suite.name: [task_type_of(suite).score(suite, k, one) for k, one in enumerate(responses[suite.name])]
            for suite in self.suites.all
        }
        again = self._again(self.tuned.once_more(), "the served model answers again")
        found = repeat_items(again, self.suites.all, self.settings, scores)
        if found.changed:
            self.later.append(
                f"Asked again, the served model got another score on {found.changed} of {found.items} items: its "
                "answers depend on what else it does (its batches, a sampling that it was not asked for)."
            )

    def drift(self, windows: Sequence[Window], sums: WindowSums, language: Evidence | None) -> Drift:
        """The drift on held-out text."""
        del windows
        found = Drift(note=UNSEEN)
        if not sums.tokens:
            return found
        return drift_summary(sums, np.random.default_rng(self.settings.seed), language).joined(found)

    def _again(self, side: Any, label: str) -> Callable[[Sequence[Suite]], Predictions]:
        return lambda few: self._predictions(side, few, label, self.batching)

    def _predictions(self, side: Any, suites: Sequence[Suite], label: str, batching: Batching | None) -> Predictions:
        task = self.events.task(label, total=sum(task_type_of(suite).steps(suite) for suite in suites))
        if is_served(side):
            noting = NotingPredictor(self.predictor(side, task))
            rule = "padded" if batching is None else batching
            return predictions_by(noting, suites, lambda: self._known(side, noting.input_hash.hash()), batching=rule)
        with evaluating(side):
            local = LocalPredictor(side, self.preprocessor, self.settings, task.advance)
            rule = borne(local, suites) if batching is None else batching
            noting = NotingPredictor(replace(local, batching=rule))
            known = self._known
            return predictions_by(noting, suites, lambda: known(side, noting.input_hash.hash()), batching=rule)

    def predictor(self, side: LanguageModel, task: Task) -> ServedPredictor:
        """The predictor of a served side."""
        return ServedPredictor(
            side,
            self.preprocessor,
            self.settings,
            self.vocabulary,
            self.ends,
            self.concurrency,
            self.counts,
            task.advance,
        )

    def window_nats(self, side: Any, rows: Sequence[Encoded], bar: Task) -> list[float]:
        """The negative log-likelihood of each window for one side."""
        if is_served(side):
            return self.predictor(side, bar).nll(rows)
        with evaluating(side):
            local: Predictor = LocalPredictor(
                side, self.preprocessor, self.settings, bar.advance, batching=self.batching
            )
            return local.nll(rows)

    def _known(self, side: Any, input_hash: str) -> Conditions:
        if not is_served(side):
            return conditions(side, self.preprocessor, input_hash)
        return Conditions(
            engine=side.can.server or "a server",
            dtype="not told",
            attention="not told",
            device="not told",
            preprocessor_hash=self.preprocessor.identity(),
            input_hash=input_hash,
        )


def is_served(side: Any) -> bool:
    """True for a side that is asked through a protocol, and not a model of transformers."""
    return hasattr(side, "can") and hasattr(side, "likelihoods")
