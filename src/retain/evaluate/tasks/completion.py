"""Prompts with one expected completion: its cross-entropy, and how near the model comes in writing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from retain.data.conversation import Message
from retain.data.examples import Example
from retain.data.family import Head
from retain.data.item import DataItem
from retain.data.lengths import Cuts
from retain.data.tokens import Encoded, encode_example, encode_prompt
from retain.evaluate.scores.answers import answer_score
from retain.evaluate.scores.without_reading import context_free_nats
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.task_type import Metrics, Response, SuitePredictions, TaskType, longest_answer
from retain.evaluate.written import Written, read_answer
from retain.records.metrics_table import CROSS_ENTROPY, UNREAD, metrics_of_answers

if TYPE_CHECKING:
    from retain.data.preprocess import Preprocessor
    from retain.evaluate.tasks.predictor import Predictor


MAX_NEW_TOKENS = 48
"""The longest answer in tokens, where neither suite nor settings say another."""


LIKELIHOOD = "likelihood"
"""Option of a suite whose completions are scored by their likelihood, too. [true]"""


def _talked(item: Example) -> Example:
    turns = (Message(role="user", content=item.prompt_text),), (Message(role="assistant", content=item.answer_text),)
    return item.model_copy(update={"prompt": turns[0], "completion": turns[1]})


def _unread(rows: Sequence[Encoded], vocabulary: int) -> list[float]:
    """Nats per token of each completion to a model that always predicts the same."""
    parts = [row.ids[row.start :] for row in rows]
    nats = context_free_nats(parts, vocabulary)
    return [value / max(len(part), 1) for value, part in zip(nats, parts, strict=True)]


class CompletionTask(TaskType):
    """Expected completions."""

    name: ClassVar[str] = "completion"
    forms: ClassVar[tuple[type[DataItem], ...]] = (Example,)
    needs: ClassVar[Head] = "causal-lm"
    about: ClassVar[str] = (
        "Cross-entropy of the expected completion; chrF, ROUGE-L and exact match of what the model writes."
    )
    aa_options: ClassVar[Mapping[str, Any]] = {"generate": 0}

    def predict(self, suite: Suite, predictor: Predictor) -> SuitePredictions:
        """Score all completions, and write answers to the first prompts."""
        settings = predictor.settings
        items: Any = suite.items
        rows = predictor.preprocessor.encode(items)
        scored = suite.options.get(LIKELIHOOD, True)
        nll = predictor.nll(rows) if scored else [0.0] * len(rows)
        prompts = self._prompts(suite, predictor.preprocessor, settings)
        written = self.written_tokens(suite, settings)
        answers: list[Written | None] = [*predictor.uncounted.generate(prompts, written)]
        answers += [None] * (len(items) - len(answers))
        responses = [
            Response(
                answer=None if one is None else one.text,
                cut_off=None if one is None else one.cut_off,
                expected=None if one is None else _rendered_calls(predictor.tokenizer, item, row),
                values={"nats": nats, "tokens": float(len(row.ids) - row.start), UNREAD: unread} if scored else {},
            )
            for item, one, nats, row, unread in zip(
                items, answers, nll, rows, _unread(rows, predictor.vocabulary), strict=True
            )
        ]
        return SuitePredictions(tuple(responses), _cuts(rows, prompts, predictor.preprocessor, written).items)

    def without_texts(self, response: Response) -> Response:
        """Without the expected answer."""
        return response.model_copy(update={"expected": None})

    def with_texts(
        self, suite: Suite, responses: Sequence[Response], preprocessor: Preprocessor
    ) -> tuple[Response, ...]:
        """With the expected answer where it is not the item's own text."""
        items: Any = suite.items
        found = list(responses)
        for index, (item, one) in enumerate(zip(items, responses, strict=True)):
            if one.answer is not None and item.calls_tools:
                [row] = preprocessor.encode([item])
                found[index] = one.model_copy(update={"expected": _rendered_calls(preprocessor.tokenizer, item, row)})
        return tuple(found)

    def written_tokens(self, suite: Suite, settings: Settings) -> int:
        """The limit of the suite, or else of the settings; 0 where no answer is written."""
        if not int(suite.options.get("generate", settings.generate)):
            return 0
        return longest_answer(suite, settings, MAX_NEW_TOKENS)

    def without_likelihood(self, suite: Suite, settings: Settings) -> tuple[Suite | None, str]:
        """The written answers alone; nothing where none are written."""
        written = int(suite.options.get("generate", settings.generate))
        if not self.written_tokens(suite, settings):
            return None, "completions are left out, since --generate 0 lets none be written"
        shorter = replace(suite, items=suite.items[:written], options={**suite.options, LIKELIHOOD: False})
        left = f", of the first {written:,} items (--generate)" if written < len(suite.items) else ""
        return shorter, f"the cross-entropy of completions is left out, and the written answers are scored{left}"

    def in_conversation(self, suite: Suite) -> Suite:
        """Prompts as messages of a user, completions as the replies."""
        items: Any = suite.items
        if all(item.is_chat for item in items):
            return suite
        return replace(suite, items=[item if item.is_chat else _talked(item) for item in items])

    def cuts(self, suite: Suite, preprocessor: Preprocessor, settings: Settings) -> Cuts:
        """The items whose prompt or completion is cut where it is scored, or whose prompt where it is answered."""
        prompts = self._prompts(suite, preprocessor, settings)
        rows, written = preprocessor.encode(suite.items), self.written_tokens(suite, settings)
        return _cuts(rows, prompts, preprocessor, written)

    def _prompts(self, suite: Suite, preprocessor: Preprocessor, settings: Settings) -> list[Encoded]:
        """The prompts to which an answer is written: those of the first items."""
        items: Any = suite.items[: int(suite.options.get("generate", settings.generate))]
        room = preprocessor.room(self.written_tokens(suite, settings))
        return [encode_prompt(preprocessor.tokenizer, item, room) for item in items]

    def metrics(self, suite: Suite) -> Metrics:
        """Cross-entropy, and the metrics of written answers."""
        scored: Metrics = {CROSS_ENTROPY: ()} if suite.options.get(LIKELIHOOD, True) else {}
        return {**scored, **{row.metric: () for row in metrics_of_answers()}}

    def score(self, suite: Suite, index: int, response: Response) -> dict[str, float]:
        """Nats per token; the other metrics where an answer was written."""
        item: Any = suite.items[index]
        scores = {}
        if suite.options.get(LIKELIHOOD, True):
            scores[CROSS_ENTROPY.name] = response.values["nats"] / response.values["tokens"]
        if response.answer is not None:
            expected = response.expected or item.answer_text
            scores |= {row.metric.name: answer_score(row)(response.answer, expected) for row in metrics_of_answers()}
        return scores

    def show(self, item: Example) -> tuple[str, str | None]:
        """Prompt and expected answer."""
        return item.prompt_text, item.answer_text

    def sequences(self, items: Sequence[Any], tokenizer: Any, max_length: int) -> Iterator[tuple[int, ...]]:
        """Prompt and completion of each item, as in training."""
        return (encode_example(tokenizer, item, max_length).ids for item in items)


def _rendered_calls(tokenizer: Any, item: Example, row: Encoded) -> str | None:
    """The answer of an example that calls tools, in the form in which the model learns it; None for other examples."""
    if not item.calls_tools:
        return None
    return read_answer(tokenizer, row.ids[row.start :], ()).text


def _cuts(rows: Sequence[Encoded], prompts: Sequence[Encoded], preprocessor: Preprocessor, written: int) -> Cuts:
    """The cuts of items as they are scored, and of the first ones' prompts as they are answered."""
    items = [[row, *prompts[index : index + 1]] for index, row in enumerate(rows)]
    return Cuts.among(items, preprocessor.room(), preprocessor.room(written) if written else 0)
