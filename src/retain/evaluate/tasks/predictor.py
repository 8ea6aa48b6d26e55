"""The four predictions that task types need of a model, and how a model of transformers makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor

from retain.data.batches import Batching
from retain.data.preprocess import Preprocessor
from retain.data.tokens import Encoded
from retain.evaluate.encode import Tick, class_names, features, log_probabilities
from retain.evaluate.generate import score_nll, write_answers
from retain.evaluate.input_hash import InputHash
from retain.evaluate.shares import ALONE, Share
from retain.evaluate.suites.suite import Settings
from retain.evaluate.written import Extent, Written
from retain.hf.models.describe import vocabulary_of
from retain.hf.models.inference import padding_id


class Predictor(Protocol):
    """One side under given settings, wherever it runs.

    Attributes:
        preprocessor: makes its inputs.
        settings: the same for base and tuned.
    """

    @property
    def preprocessor(self) -> Preprocessor:
        """See above."""

    @property
    def settings(self) -> Settings:
        """See above."""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of a model that reads text."""

    @property
    def uncounted(self) -> Predictor:
        """The same, for work that does not count as progress."""

    @property
    def class_names(self) -> list[str]:
        """The classes of a classifier, in the order of its outputs."""

    @property
    def vocabulary(self) -> int:
        """The number of tokens that the model chooses among."""

    def nll(self, rows: Sequence[Encoded]) -> list[float]:
        """Negative log-likelihood in nats of the scored part of each sequence."""

    def generate(self, prompts: Sequence[Encoded], max_new_tokens: int, *, extent: Extent = "whole") -> list[Written]:
        """Greedy answers to prompts."""

    def log_probabilities(self, items: Sequence[Any]) -> Tensor:
        """Log-probabilities of classes in nats, float64 (n, classes)."""

    def features(self, items: Sequence[Any], *, by_base: bool = False) -> Tensor:
        """Mean-pooled last hidden states of items or plain texts, float32 (n, d).

        Args:
            items: labelled texts or images, or plain texts.
            by_base: they are read by the untouched base, whichever side this is.
        """


@dataclass(frozen=True)
class LocalPredictor:
    """A model of transformers under given settings.

    Attributes:
        model: as it stands; adapter on or off is the caller's choice.
        preprocessor: makes its inputs.
        settings: the same for base and tuned.
        tick: receives the number of sequences just done.
        input_hash: hashes all inputs, to show that two models got the same.
        base: opens the untouched base. [the model is it]
        batching: which items the model may read together.
        share: the batches that this process runs.
    """

    model: Any
    preprocessor: Preprocessor
    settings: Settings
    tick: Tick = lambda _: None
    input_hash: InputHash = field(default_factory=InputHash)
    base: Callable[[], AbstractContextManager[Any]] | None = None
    batching: Batching = "padded"
    share: Share = ALONE

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of a model that reads text."""
        return self.preprocessor.tokenizer

    @property
    def uncounted(self) -> LocalPredictor:
        """The same, for work that does not count as progress."""
        return replace(self, tick=lambda _: None)

    @property
    def class_names(self) -> list[str]:
        """The classes of a classifier, in the order of its outputs."""
        return class_names(self.model)

    @property
    def vocabulary(self) -> int:
        """The number of tokens that the model chooses among."""
        return vocabulary_of(self.model)

    def nll(self, rows: Sequence[Encoded]) -> list[float]:
        """Negative log-likelihood in nats of the scored part of each sequence."""
        return score_nll(
            self.model,
            rows,
            padding_id(self.tokenizer),
            self.settings.batch_size,
            self.tick,
            self.input_hash,
            **self._batches,
        )

    def generate(self, prompts: Sequence[Encoded], max_new_tokens: int, *, extent: Extent = "whole") -> list[Written]:
        """Greedy answers to prompts; see `write_answers`."""
        return write_answers(
            self.model,
            self.tokenizer,
            [row.ids for row in prompts],
            max_new_tokens,
            self.settings.batch_size,
            self.tick,
            self.input_hash,
            extent=extent,
            **self._batches,
        )

    def log_probabilities(self, items: Sequence[Any]) -> Tensor:
        """Log-probabilities of classes in nats, float64 (n, classes)."""
        size = self.settings.batch_size
        return log_probabilities(
            self.model, self.preprocessor, items, size, self.tick, self.input_hash, **self._batches
        )

    def features(self, items: Sequence[Any], *, by_base: bool = False) -> Tensor:
        """Mean-pooled last hidden states of items or plain texts, float32 (n, d); see `Predictor`."""
        size = self.settings.batch_size
        with self.base() if by_base and self.base is not None else nullcontext(self.model) as model:
            return features(model, self.preprocessor, items, size, self.tick, self.input_hash, **self._batches)

    @property
    def _batches(self) -> dict[str, Any]:
        """The items that are read together, and the batches that are read here."""
        return {"batching": self.batching, "share": self.share}
