"""What a kind of suite is: what it needs of a model, how it asks, how it scores, and what its metrics mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from retain.data.preprocess import Preprocessor
from retain.evaluate.input_hash import InputHash
from retain.evaluate.suites.suite import Settings, Suite

Tick = Callable[[int], None]
"""Called with the number of items just done, to move a progress bar."""

Needs = Literal["causal-lm", "classifier", "features"]
Role = Literal["knowledge", "format", "other"]


class Response(BaseModel):
    """What one model said to one item, as plain values.

    Attributes:
        answer: what it wrote or chose; None where nothing is to be shown.
        values: figures by name, as nats and tokens.
        options: a figure for each option or class: log-likelihoods or log-probabilities in nats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: str | None = None
    values: dict[str, float] = {}
    options: tuple[float, ...] = ()


@dataclass(frozen=True)
class Subject:
    """A model as it is asked: with what reads for it, and the ledger of what was put to it."""

    model: Any
    preprocessor: Preprocessor
    input_hash: InputHash = field(default_factory=InputHash)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of a model that reads text."""
        return getattr(self.preprocessor, "tokenizer", None)


@dataclass(frozen=True)
class Asked:
    """The responses to all items, and how many items were cut because they were too long."""

    responses: tuple[Response, ...]
    truncated: int = 0


@dataclass(frozen=True)
class Metric:
    """One figure an item gets.

    Attributes:
        name: as in the record.
        role: whether it tells what is known, or whether the answer has the form that was asked for.
        right_or_wrong: whether it is 0 or 1.
        higher_is_better: which way is good.
        chance: probability of guessing right for each item, in the suite's order; none for what cannot be guessed.
    """

    name: str
    role: Role = "other"
    right_or_wrong: bool = True
    higher_is_better: bool = True
    chance: Sequence[float] = ()


@dataclass(frozen=True)
class TaskType:
    """One way to ask.

    Attributes:
        name: as suites name it.
        forms: the forms of items that it takes.
        needs: what kind of model.
        about: one sentence for people.
        ask: put all items of a suite to a model.
        metrics: the metrics of a suite, the one that a verdict rests on first.
        score: one item's figures by metric, from its response.
        show: an item's question and expected answer, as text.
        weight: name of the value in a response by which items count in a mean; by metric.
        withheld: whether texts are kept out of records and reports.
    """

    name: str
    forms: tuple[str, ...]
    needs: Needs
    about: str
    ask: Callable[[Subject, Suite, Settings, Tick], Asked]
    metrics: Callable[[Suite], tuple[Metric, ...]]
    score: Callable[[Suite, int, Response], dict[str, float]]
    show: Callable[[Any], tuple[str, str | None]]
    weight: Mapping[str, str] = field(default_factory=dict)
    withheld: bool = False
