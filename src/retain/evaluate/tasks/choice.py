"""Multiple choice by likelihood: the option that the model finds most likely is its answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from retain.data.family import Head
from retain.data.item import DataItem
from retain.data.item_types import Choice, Question
from retain.data.lengths import Cuts
from retain.data.sample import looked_at
from retain.data.tokens import Encoded, encode_choice
from retain.evaluate.scores import without_reading
from retain.evaluate.scores.option_choice import pick, units
from retain.evaluate.scores.without_reading import Chance
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.task_type import Metrics, Response, SuitePredictions, TaskType, first_refusal
from retain.records.metric import Metric
from retain.records.metrics_table import ACCURACY

if TYPE_CHECKING:
    from retain.data.preprocess import Preprocessor
    from retain.evaluate.tasks.predictor import Predictor


BY_LENGTH = "right_by_length"
"""A response's value: the probability that the lengths of the options alone pick the right one."""
SELDOM = 1e-3
"""A pattern that luck makes less often is remarked upon."""


class ChoiceTask(TaskType):
    """Multiple choice."""

    name: ClassVar[str] = "choice"
    forms: ClassVar[tuple[type[DataItem], ...]] = (Choice,)
    needs: ClassVar[Head] = "causal-lm"
    about: ClassVar[str] = "Accuracy of the option that the model finds most likely."

    def predict(self, suite: Suite, predictor: Predictor) -> SuitePredictions:
        """Score all options of all items."""
        items: Any = suite.items
        scored = option_likelihoods(predictor, items, chat=in_chat(suite, predictor.settings))
        return SuitePredictions(
            tuple(
                Response(
                    answer=item.choices[pick(options, right=item.answer)],
                    options=options,
                    values={BY_LENGTH: by_length},
                )
                for item, options, by_length in zip(items, scored.options, scored.by_length, strict=True)
            ),
            scored.truncated,
        )

    def without_texts(self, response: Response) -> Response:
        """Without the text of the option, which the likelihoods tell."""
        return response.model_copy(update={"answer": None})

    def with_texts(
        self, suite: Suite, responses: Sequence[Response], preprocessor: Preprocessor
    ) -> tuple[Response, ...]:
        """With the text of the option that each picks."""
        del preprocessor
        items: Any = suite.items
        chosen = [
            item.choices[pick(one.options, right=item.answer)] for item, one in zip(items, responses, strict=True)
        ]
        return tuple(one.model_copy(update={"answer": text}) for one, text in zip(responses, chosen, strict=True))

    def metrics(self, suite: Suite) -> Metrics:
        """Accuracy; chance is the best of the strategies that do not read the question, or what the suite says."""
        return {ACCURACY: self.chance(suite).items}

    def metrics_beside(self, suite: Suite, responses: Sequence[Response]) -> Metrics:
        """The option of the fewest tokens counts as well: what a model takes that finds all tokens equally likely."""
        return {ACCURACY: chance_of_choices(suite, responses).items}

    def chance(self, suite: Suite) -> Chance:
        """Of picking the right option without the question."""
        return chance_of_choices(suite)

    def score(self, suite: Suite, index: int, response: Response) -> dict[str, float]:
        """Accuracy, and the log-likelihood of each option."""
        item: Any = suite.items[index]
        scores = {ACCURACY.name: float(pick(response.options, right=item.answer) == item.answer)}
        return scores | option_scores(item.choices, response.options)

    def luck(self, suite: Suite, metric: Metric) -> float:
        """Of picking any option."""
        return super().luck(suite, metric) or luck_of_choices(suite)

    def old_answer_nats(self, suite: Suite, index: int, response: Response) -> float | None:
        """That of the right option, normalised as the settings say."""
        item: Any = suite.items[index]
        return 0.0 - float(response.options[item.answer])

    def show(self, item: Choice) -> tuple[str, str | None]:
        """The question and the right option."""
        return item.question, item.choices[item.answer]

    def steps(self, suite: Suite) -> int:
        """The number of options of all items."""
        items: Any = suite.items
        return sum(len(item.choices) for item in items)

    def cautions(self, suite: Suite) -> list[str]:
        """Answers that seem to be counted from 1, or that stand in one place."""
        return remarkable_places(suite)

    def cuts(self, suite: Suite, preprocessor: Preprocessor, settings: Settings) -> Cuts:
        """The items of which a question, or an option, is cut."""
        items: Any = suite.items
        return Cuts.among(encoded_options(preprocessor, items, chat=in_chat(suite, settings)), preprocessor.room())

    def without_likelihood(self, suite: Suite, settings: Settings) -> tuple[Suite | None, str]:
        """Not at all: what the model would write is another measure (that of the task type `question`)."""
        del suite, settings
        return None, "multiple choice by likelihood is left out; as a suite of questions it would be read from answers"

    def in_conversation(self, suite: Suite) -> Suite:
        """Options as replies to the question."""
        return suite if suite.options.get("format") == "chat" else replace(suite, options=_chat(suite))

    def tokenizer_problems(self, suite: Suite, tokenizer: Any, settings: Settings) -> list[str]:
        """The first item with options that the chat template refuses."""
        return choice_problems(suite, tokenizer, settings)


def luck_of_choices(suite: Suite) -> float:
    """Mean probability that an option picked at random is the right one."""
    items: Any = suite.items
    return float(np.mean([1 / len(item.choices) for item in items])) if items else 0.0


def _chat(suite: Suite) -> dict[str, Any]:
    return {**suite.options, "format": "chat"}


def remarkable_places(suite: Suite) -> list[str]:
    """A remark where the right choices stand where luck would hardly put them: never in the first place, or in one."""
    items: Any = [item for item in suite.items if getattr(item, "choices", ())]
    answers = {item.answer for item in items}
    elsewhere = math.prod(1 - 1 / len(item.choices) for item in items)
    if len(answers) == 1 and math.prod(len(item.choices) for item in items) > 1 / SELDOM:
        remark = (
            f"choice {answers.pop() + 1} is the right one in all {len(items)} items: no fault, since choices are "
            "scored one by one, unless the answers were not meant so"
        )
    elif 0 in answers or len(answers) < 2 or elsewhere > SELDOM:
        return []
    else:
        remark = (
            f"the first choice (0) is right in none of {len(items)} items: where answers are counted from 1, every one "
            "is taken for the next choice; subtract 1, or give letters or the choices' texts"
        )
    return [remark]


def in_chat(suite: Suite, settings: Settings) -> bool:
    """True where options are replies to the question in the chat template, as suite or settings say."""
    return bool(suite.options.get("format", settings.keep_format) == "chat")


def choice_problems(suite: Suite, tokenizer: Any, settings: Settings) -> list[str]:
    """The problems of the first item with options that the tokenizer refuses."""
    items: Any = suite.items
    encode = partial(encode_choice, tokenizer, chat=in_chat(suite, settings), max_length=settings.max_length)
    chosen = [item for item in items if item.choices]
    return first_refusal(suite.name, chosen, encode, looked_at(chosen, FEW))


FEW = 200
"""Questions whose options are tokenised before any model is loaded: in a template all have one shape."""


@dataclass(frozen=True)
class ScoredOptions:
    """The options of items, scored.

    Attributes:
        options: of each item the log-likelihood of every option in nats, normalised as the settings say.
        by_length: of each item the probability that the lengths of its options alone pick the right one, as they do
            for a model to which all tokens are equally likely.
        truncated: how many items were cut.
    """

    options: Sequence[tuple[float, ...]]
    by_length: Sequence[float]
    truncated: int


def encoded_options(
    preprocessor: Preprocessor, items: Sequence[Choice | Question], *, chat: bool
) -> list[list[Encoded]]:
    """The sequences of all options of each item."""
    room = preprocessor.room()
    return [encode_choice(preprocessor.tokenizer, item, chat=chat, max_length=room) for item in items]


def option_likelihoods(predictor: Predictor, items: Sequence[Choice | Question], *, chat: bool) -> ScoredOptions:
    """Score every option of every item."""
    settings = predictor.settings
    rows = encoded_options(predictor.preprocessor, items, chat=chat)
    nll = iter(predictor.nll([row for options in rows for row in options]))
    scores, by_length = [], []
    for options, item in zip(rows, items, strict=True):
        tokens = [len(row.ids) - row.start for row in options]
        lengths = units(settings.keep_score, len(options), tokens, item.choices)
        scores.append(tuple(-next(nll) / unit for unit in lengths))
        shortest = [-size / unit for size, unit in zip(tokens, lengths, strict=True)]
        by_length.append(without_reading.share_of_best(shortest, item.answer or 0))
    return ScoredOptions(scores, by_length, sum(any(row.truncated for row in options) for options in rows))


def chance_of_choices(suite: Suite, responses: Sequence[Response] = ()) -> Chance:
    """The probability of picking the right option of each item without reading its question.

    Args:
        suite: of items that all have options.
        responses: a model's, which tell what the lengths of the options in tokens pick.
    """
    items: Any = suite.items
    if not items:
        return Chance()
    choices, answers = [item.choices for item in items], [item.answer for item in items]
    found = without_reading.of_choices(choices, answers, [item.question for item in items])
    if responses and all(BY_LENGTH in response.values for response in responses):
        found["the choice of the fewest tokens"] = np.asarray([response.values[BY_LENGTH] for response in responses])
    given = suite.options.get("chance")
    return without_reading.best(found, None if given is None else float(given))


def option_scores(choices: Sequence[str], options: Sequence[float]) -> dict[str, float]:
    """The log-likelihood of each option, named so that a reader of items.jsonl understands it."""
    return {f"log-likelihood of {choice!r}": value for choice, value in zip(choices, options, strict=True)}
