"""Task types: the prompts, predictions and scores of a kind of items, and all else that depends on the kind.

A task type is a class in a file of its own and a row in `table`. Nothing outside this folder names one; what others
must know of a suite's task type they ask it. No torch here, so that `retain suites` is quick.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from retain.data.family import Head
from retain.data.item import DataItem
from retain.data.lengths import Cuts
from retain.errors import RetainError
from retain.evaluate.scores.classification import SetMetric
from retain.evaluate.scores.without_reading import Chance
from retain.evaluate.suites.suite import Settings, Suite
from retain.records.metric import Metric
from retain.records.metrics_table import OLD_ANSWER

if TYPE_CHECKING:  # both import torch
    from retain.data.preprocess import Preprocessor
    from retain.evaluate.tasks.predictor import Predictor

Metrics = Mapping[Metric, Sequence[float]]
"""The metrics of a suite: the one that a verdict rests on first, then written forms from the loosest to the strictest.

To each belongs the probability of being right without reading the item, in the suite's order (see
`scores.without_reading`); none for what cannot be had so.
"""

CHANGED_AT_MOST = 0.02
"""Share of right-or-wrong scores that rounding may turn in an A/A check, whose batches are made of other items."""

WRITTEN_CHANGED_AT_MOST = 0.2
"""The same share for answers written in 16 bits, where one rounded step changes a token and all that follows it."""


class Response(BaseModel):
    """The response of one model to one item, as plain values.

    Attributes:
        answer: the text it wrote or chose; None where nothing is to be shown.
        cut_off: whether the limit ended a written answer; None where none is written.
        expected: the answer to compare with, where the item's own text is not what a model would write.
        values: figures by name, as nats and tokens.
        options: a figure for each option or class: log-likelihoods or log-probabilities in nats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: str | None = None
    cut_off: bool | None = None
    expected: str | None = None
    values: dict[str, float] = {}
    options: tuple[float, ...] = ()


@dataclass(frozen=True)
class SuitePredictions:
    """The responses to all items of a suite, and how many items were cut because they were too long."""

    responses: tuple[Response, ...]
    truncated: int = 0


@dataclass(frozen=True)
class ClassProbabilities:
    """Probabilities of classes for the items whose class the model knows.

    Attributes:
        probabilities: (n, classes), each row sums to 1.
        truth: (n,) index of the right class.
    """

    probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]


class TaskType(ABC):
    """One way to make a model's inputs of items and to score its predictions.

    Attributes:
        name: as suite files name it.
        forms: the classes of items that it takes; one of its own makes its columns known everywhere.
        needs: the head that a model must have.
        about: one sentence for people.
        withheld: true where texts are kept out of records and reports.
        tells_knowledge: true where a right answer shows that a model knows something, so that it can be shown gone.
        needs_bank: true where a suite has a bank of labelled items beside those that are measured.
        items_are_independent: true where an item's score does not depend on the other items of the suite.
        searches: true where features are searched for in an index of others, see `retain.evaluate.tasks.index`.
        in_batches: true where the model reads items as `Preprocessor.batch` makes them.
        set_metrics: metrics of a whole suite, each a function of its confusion table.
        aa_options: options of the suite in an A/A check, instead of its own.
    """

    name: ClassVar[str]
    forms: ClassVar[tuple[type[DataItem], ...]]
    needs: ClassVar[Head]
    about: ClassVar[str]
    withheld: ClassVar[bool] = False
    tells_knowledge: ClassVar[bool] = True
    needs_bank: ClassVar[bool] = False
    items_are_independent: ClassVar[bool] = True
    searches: ClassVar[bool] = False
    in_batches: ClassVar[bool] = False
    set_metrics: ClassVar[Mapping[Metric, SetMetric]] = {}
    aa_options: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def predict(self, suite: Suite, predictor: Predictor) -> SuitePredictions:
        """Predict all items of a suite."""

    @abstractmethod
    def metrics(self, suite: Suite) -> Metrics:
        """The metrics of a suite, each with the chance of guessing its items right."""

    @abstractmethod
    def score(self, suite: Suite, index: int, response: Response) -> dict[str, float]:
        """One item's figures by metric, from its response."""

    @abstractmethod
    def show(self, item: Any) -> tuple[str, str | None]:
        """An item's question and expected answer, as text."""

    def metrics_beside(self, suite: Suite, responses: Sequence[Response]) -> Metrics:
        """The same metrics, whose chance also counts what the base's own responses show of answering unread."""
        del responses
        return self.metrics(suite)

    def chance(self, suite: Suite) -> Chance:
        """What can be had of a suite by its deciding metric without reading it; nothing where none is known."""
        del suite
        return Chance()

    def verdict_metric(self, suite: Suite) -> Metric:
        """The metric that a verdict and a budget's limit rest on."""
        return next(iter(self.metrics(suite)))

    def luck(self, suite: Suite, metric: Metric) -> float:
        """Mean probability that an answer drawn at random is right: what counts as guessing where nothing may be left.

        Not the best way of answering without reading, as in `metrics`: a model that gives one answer to all may know
        that answer.
        """
        del metric
        return float(suite.options.get("chance") or 0.0)

    def old_answer_nats(self, suite: Suite, index: int, response: Response) -> float | None:
        """−log of the probability of an item's right answer as a whole; None where it is not known."""
        del suite, index
        return response.values.get(OLD_ANSWER.name)

    @property
    def takes_images(self) -> bool:
        """True where items may be images."""
        return any(form.modality == "image" for form in self.forms)

    def problems(self, suite: Suite) -> list[str]:
        """Reasons why the items of a suite cannot be measured together, as clauses without a full stop."""
        del suite
        return []

    def cautions(self, suite: Suite) -> list[str]:
        """Remarks on a suite that is measured all the same, as clauses without a full stop."""
        del suite
        return []

    def bank_problems(self, suite: Suite) -> list[str]:
        """Sentences on what a suite's bank lacks for its items to be measured."""
        del suite
        return []

    def tokenizer_problems(self, suite: Suite, tokenizer: Any, settings: Settings) -> list[str]:
        """Sentences on what the tokenizer refuses of a suite, known before any model is loaded."""
        del suite, tokenizer, settings
        return []

    def steps(self, suite: Suite) -> int:
        """The number of sequences that the model reads, for the progress."""
        return len(suite.items)

    def without_likelihood(self, suite: Suite, settings: Settings) -> tuple[Suite | None, str]:
        """A suite as a model is measured on it that only writes, and what that changes, as a clause; None: it is not.

        Args:
            suite: as it is.
            settings: how items become inputs.
        """
        del settings
        return suite, ""

    def in_conversation(self, suite: Suite) -> Suite:
        """A suite as a model is asked that knows no plain text: each prompt as one message of a user."""
        return suite

    def changes_allowed(self, *, in_16_bits: bool) -> float:
        """Share of right-or-wrong scores that rounding may turn between two passes of one model."""
        del in_16_bits
        return CHANGED_AT_MOST

    def truth(self, suite: Suite) -> Sequence[str]:
        """The right class of each item; needed by `set_metrics`."""
        raise NotImplementedError(f"{self.name} has no classes")

    def probabilities(self, responses: Sequence[Response]) -> ClassProbabilities | None:
        """Class probabilities, whose calibration is measured; None where the task type has none."""
        del responses
        return None

    def written_tokens(self, suite: Suite, settings: Settings) -> int:
        """Tokens of the longest answer that is written to an item; 0 where none is."""
        del suite, settings
        return 0

    def cuts(self, suite: Suite, preprocessor: Preprocessor, settings: Settings) -> Cuts:
        """The items that are cut because they are too long."""
        del settings
        return preprocessor.cuts(suite.items)

    def sequences(self, items: Sequence[Any], tokenizer: Any, max_length: int) -> Iterator[tuple[int, ...]]:
        """Token ids of items of which a language model predicts each token, for its drift on the task's own text."""
        del items, tokenizer, max_length
        return iter(())

    def without_texts(self, response: Response) -> Response:
        """A response without what it has of its item's texts; `with_texts` fills it in again."""
        return response

    def with_texts(
        self, suite: Suite, responses: Sequence[Response], preprocessor: Preprocessor
    ) -> tuple[Response, ...]:
        """The responses to a suite's items, with what `without_texts` took from them."""
        del suite, preprocessor
        return tuple(responses)

    def facts(self, settings: Settings) -> dict[str, str]:
        """Facts for the record's `SuiteFacts`, beside those of the suite file."""
        del settings
        return {}


def first_refusal(
    name: str,
    items: Sequence[Any],
    encode: Callable[[Any], Any],
    looked_at: Sequence[int] | None = None,
    numbers: Sequence[int] | None = None,
) -> list[str]:
    """The problems of the first item that cannot be tokenised, and how many others cannot; none where all can.

    Args:
        name: of the items.
        items: all of them.
        encode: tokenises one, or raises.
        looked_at: indices of those that are tried. [all]
        numbers: of the items, from 0, where they are some of more.
    """
    problems: list[str] = []
    tried = range(len(items)) if looked_at is None else looked_at
    refused = 0
    for index in tried:
        number, item = (index if numbers is None else numbers[index]) + 1, items[index]
        try:
            encode(item)
        except RetainError as error:
            refused += 1
            if refused == 1:
                found = getattr(error, "problems", [str(error)])
                problems = [f"{name}, item {number}: {problem}" for problem in found]
    if refused > 1:
        others = "1 other is" if refused == 2 else f"{refused - 1:,} others are"
        problems.append(f"{name}: {others} refused too, of {len(tried):,} items.")
    return problems


def longest_answer(suite: Suite, settings: Settings, usual: int) -> int:
    """The limit of written answers in tokens: the suite's own, else that of the settings, else the task type's."""
    return int(suite.options.get("max_new_tokens") or settings.max_new_tokens or usual)
