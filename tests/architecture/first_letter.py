"""A task type from outside: words whose first letter the model must write. One file; the row is added by the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from retain.data.family import Head
from retain.data.item import DataItem
from retain.data.tokens import encode_prompt
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.question import prompt_of
from retain.evaluate.tasks.task_type import Metrics, Response, SuitePredictions, TaskType
from retain.records.metrics_table import ACCURACY

if TYPE_CHECKING:
    from retain.evaluate.tasks.predictor import Predictor


class Word(DataItem):
    """A word and its first letter."""

    form: ClassVar[str] = "word"
    columns: ClassVar[tuple[str, ...]] = ("word", "letter")

    word: str
    letter: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The word."""
        return (self.word,)


class FirstLetterTask(TaskType):
    """First letters of words."""

    name: ClassVar[str] = "first-letter"
    forms: ClassVar[tuple[type[DataItem], ...]] = (Word,)
    needs: ClassVar[Head] = "causal-lm"
    about: ClassVar[str] = "Share of words whose first letter the model writes."

    def predict(self, suite: Suite, predictor: Predictor) -> SuitePredictions:
        """Write one token to each word."""
        items: Any = suite.items
        length = predictor.preprocessor.room(1)
        prompts = [encode_prompt(predictor.tokenizer, prompt_of(item.word, chat=False), length) for item in items]
        return SuitePredictions(tuple(Response(answer=one.text) for one in predictor.generate(prompts, 1)))

    def metrics(self, suite: Suite) -> Metrics:
        """Accuracy; a guess is right for one letter in 26."""
        return {ACCURACY: [1 / 26] * len(suite.items)}

    def score(self, suite: Suite, index: int, response: Response) -> dict[str, float]:
        """Whether the letter is right."""
        item: Any = suite.items[index]
        return {ACCURACY.name: float(response.answer == item.letter)}

    def show(self, item: Any) -> tuple[str, str | None]:
        """The word and its letter."""
        return item.word, item.letter
