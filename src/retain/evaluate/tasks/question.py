"""Questions answered in writing, and by likelihood where options are given: tells lost knowledge from a lost format."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from retain.data.conversation import Message
from retain.data.examples import Example
from retain.data.family import Head
from retain.data.item import DataItem
from retain.data.item_types import Question
from retain.data.lengths import Cuts
from retain.data.tokens import Encoded, encode_prompt
from retain.evaluate.scores import without_reading
from retain.evaluate.scores.option_choice import pick
from retain.evaluate.scores.text import contains, exact_match
from retain.evaluate.scores.without_reading import Chance
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.choice import (
    BY_LENGTH,
    chance_of_choices,
    choice_problems,
    encoded_options,
    luck_of_choices,
    option_likelihoods,
    option_scores,
    remarkable_places,
)
from retain.evaluate.tasks.task_type import (
    CHANGED_AT_MOST,
    WRITTEN_CHANGED_AT_MOST,
    Metrics,
    Response,
    SuitePredictions,
    TaskType,
    longest_answer,
)
from retain.records.metric import Metric
from retain.records.metrics_table import ACCURACY, CONTAINS, EXACT_MATCH, OLD_ANSWER

if TYPE_CHECKING:
    from retain.data.preprocess import Preprocessor
    from retain.evaluate.tasks.predictor import Predictor

MAX_NEW_TOKENS = 16
"""The longest answer in tokens, where neither suite nor settings say another."""


class QuestionTask(TaskType):
    """Questions with written answers."""

    name: ClassVar[str] = "question"
    forms: ClassVar[tuple[type[DataItem], ...]] = (Question,)
    needs: ClassVar[Head] = "causal-lm"
    about: ClassVar[str] = (
        "Written answers: exactly right, or somewhere in the answer; and by likelihood where options are given."
    )

    def predict(self, suite: Suite, predictor: Predictor) -> SuitePredictions:
        """Write an answer to every question, and score the options of those that have any."""
        items: Any = suite.items
        settings, preprocessor = predictor.settings, predictor.preprocessor
        chat = written_in_chat(suite, settings, predictor.tokenizer)
        prompts = self._prompts(suite, preprocessor, settings)
        longest = self.written_tokens(suite, settings)
        written = predictor.generate(prompts, longest, extent="whole" if chat else "first line")
        with_options = [item for item in items if item.choices]
        scored = option_likelihoods(predictor.uncounted, with_options, chat=chat)
        options, by_length = iter(scored.options), iter(scored.by_length)
        old = _old_answers(predictor, items, chat=chat) if suite.part == "gone" else iter(())
        return SuitePredictions(
            tuple(
                Response(
                    answer=one.text,
                    cut_off=one.cut_off,
                    options=next(options) if item.choices else (),
                    values=({BY_LENGTH: next(by_length)} if item.choices else {}) | dict(itertools.islice(old, 1)),
                )
                for item, one in zip(items, written, strict=True)
            ),
            self.cuts(suite, preprocessor, settings).items,
        )

    def written_tokens(self, suite: Suite, settings: Settings) -> int:
        """A few tokens, or as many as suite or settings say."""
        return longest_answer(suite, settings, MAX_NEW_TOKENS)

    def cuts(self, suite: Suite, preprocessor: Preprocessor, settings: Settings) -> Cuts:
        """The items whose question is cut before an answer, or of which a question or an option is cut."""
        items: Any = suite.items
        chat = written_in_chat(suite, settings, preprocessor.tokenizer)
        options = iter(encoded_options(preprocessor, [item for item in items if item.choices], chat=chat))
        prompts = zip(items, self._prompts(suite, preprocessor, settings), strict=True)
        rows = [[prompt, *(next(options) if item.choices else ())] for item, prompt in prompts]
        return Cuts.among(rows, preprocessor.room(), preprocessor.room(self.written_tokens(suite, settings)))

    def _prompts(self, suite: Suite, preprocessor: Preprocessor, settings: Settings) -> list[Encoded]:
        items: Any = suite.items
        tokenizer, room = preprocessor.tokenizer, preprocessor.room(self.written_tokens(suite, settings))
        chat = written_in_chat(suite, settings, tokenizer)
        return [encode_prompt(tokenizer, prompt_of(item.question, chat=chat), room) for item in items]

    def metrics(self, suite: Suite) -> Metrics:
        """Accuracy where all items have options; whether the answer contains, or is, an accepted one."""
        return self.metrics_beside(suite, ())

    def metrics_beside(self, suite: Suite, responses: Sequence[Response]) -> Metrics:
        """The answer that the base itself gives most often counts as an answer that needs no reading."""
        items: Any = suite.items
        given = [response.answer or "" for response in responses]
        written: Metrics = {metric: chance_of_writing(suite, metric, given).items for metric in (CONTAINS, EXACT_MATCH)}
        if items and all(item.choices for item in items):
            return {ACCURACY: chance_of_choices(suite, responses).items, **written}
        return written

    def chance(self, suite: Suite) -> Chance:
        """Of picking the right option, or of writing the right answer, without the question."""
        items: Any = suite.items
        picked = items and all(item.choices for item in items)
        return chance_of_choices(suite) if picked else chance_of_writing(suite, CONTAINS)

    def luck(self, suite: Suite, metric: Metric) -> float:
        """Of picking any option; of what is written only what the suite states."""
        return super().luck(suite, metric) or (luck_of_choices(suite) if metric == ACCURACY else 0.0)

    def score(self, suite: Suite, index: int, response: Response) -> dict[str, float]:
        """Both metrics of the written answer; accuracy and log-likelihoods where there are options."""
        item: Any = suite.items[index]
        answer = response.answer or ""
        scores = {
            CONTAINS.name: float(any(contains(answer, accepted) for accepted in item.answers)),
            EXACT_MATCH.name: float(any(exact_match(answer, accepted) for accepted in item.answers)),
        }
        if item.choices:
            scores[ACCURACY.name] = float(pick(response.options, right=item.answer) == item.answer)
            scores |= option_scores(item.choices, response.options)
        return scores

    def show(self, item: Question) -> tuple[str, str | None]:
        """The question and its first accepted answers."""
        return item.question, " / ".join(item.answers[:4])

    def problems(self, suite: Suite) -> list[str]:
        """Questions with a single option."""
        items: Any = suite.items
        alone = sum(len(item.choices) == 1 for item in items)
        problem = f"{alone} questions have one choice, which any model picks; give at least two, or none"
        return [problem] if alone else []

    def cautions(self, suite: Suite) -> list[str]:
        """Answers that seem to be counted from 1, or that stand in one place."""
        return remarkable_places(suite)

    def tokenizer_problems(self, suite: Suite, tokenizer: Any, settings: Settings) -> list[str]:
        """The first item with options that the chat template refuses."""
        return choice_problems(suite, tokenizer, settings)

    def without_likelihood(self, suite: Suite, settings: Settings) -> tuple[Suite | None, str]:
        """The written answers alone."""
        del settings
        items: Any = suite.items
        if not any(item.choices for item in items):
            return suite, ""
        bare = [item.model_copy(update={"choices": (), "answer": None}) for item in items]
        return replace(suite, items=bare), "its options are not scored, and the written answers decide alone"

    def in_conversation(self, suite: Suite) -> Suite:
        """Questions as messages, whatever the suite says."""
        if suite.options.get("format") in {None, "chat"}:
            return suite
        return replace(suite, options={**suite.options, "format": "chat"})

    def changes_allowed(self, *, in_16_bits: bool) -> float:
        """More in 16 bits, because the answers are written."""
        return WRITTEN_CHANGED_AT_MOST if in_16_bits else CHANGED_AT_MOST


def chance_of_writing(suite: Suite, metric: Metric, given: Sequence[str] = ()) -> Chance:
    """The probability of writing the right answer of each item without reading its question, or by copying from it.

    Args:
        suite: of questions.
        metric: how an answer is right.
        given: a model's answers, one each.
    """
    items: Any = suite.items
    if not items:
        return Chance()
    stated = float(suite.options.get("chance", 0.0))
    found = without_reading.of_written(
        [item.answers for item in items],
        contains if metric is CONTAINS else exact_match,
        questions=[item.question for item in items],
        words=int(suite.options.get("max_new_tokens", MAX_NEW_TOKENS)),
        given=given,
    )
    return without_reading.best(found, stated)


def written_in_chat(suite: Suite, settings: Settings, tokenizer: Any) -> bool:
    """True where questions go through the chat template: as suite or settings say, else where there is a template.

    A chat model that is given plain text to go on with often writes nothing; that would look like a lost format.
    """
    given = suite.options.get("format", "chat" if settings.keep_format == "chat" else None)
    return given == "chat" if given is not None else bool(getattr(tokenizer, "chat_template", None))


def _old_answers(predictor: Predictor, items: Sequence[Question], *, chat: bool) -> Iterator[tuple[str, float]]:
    """−log of the probability of the first accepted answer of each item, with its name among the values."""
    alone = [item.model_copy(update={"choices": item.answers[:1], "answer": 0}) for item in items]
    rows = encoded_options(predictor.preprocessor, alone, chat=chat)
    nats = predictor.uncounted.nll([row for options in rows for row in options])
    return ((OLD_ANSWER.name, each) for each in nats)


def prompt_of(question: str, *, chat: bool) -> Example:
    """A question as an example whose answer is to be written."""
    if chat:
        turns = (Message(role="user", content=question),), (Message(role="assistant", content="."),)
        return Example(prompt=turns[0], completion=turns[1])
    return Example(prompt=question, completion=".")
