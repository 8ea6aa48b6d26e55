"""Questions answered in writing, and by likelihood where options are given: tells lost knowledge from a lost format."""

from __future__ import annotations

from typing import Any

from retain.data.examples import Example, Message
from retain.data.items import Question
from retain.data.tokens import encode_prompt
from retain.evaluate.generate import write_answers
from retain.evaluate.scores.option_choice import pick
from retain.evaluate.scores.text import contains, exact_match
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.choice import likelihoods, option_scores
from retain.evaluate.tasks.task_type import Asked, Metric, Response, Subject, TaskType, Tick

MAX_NEW_TOKENS = 16


def asked_in_chat(suite: Suite, settings: Settings, tokenizer: Any) -> bool:
    """Whether questions go through the chat template: as the suite or the settings say, else if there is one.

    A chat model that is given plain text to go on with often writes nothing; that would look like a lost format.
    """
    said = suite.options.get("format", "chat" if settings.keep_format == "chat" else None)
    return said == "chat" if said is not None else bool(getattr(tokenizer, "chat_template", None))


def prompt_of(question: str, *, chat: bool) -> Example:
    """A question as an example whose answer is to be written."""
    if chat:
        turns = (Message(role="user", content=question),), (Message(role="assistant", content="."),)
        return Example(prompt=turns[0], completion=turns[1])
    return Example(prompt=question, completion=".")


def _ask(subject: Subject, suite: Suite, settings: Settings, tick: Tick) -> Asked:
    items: Any = suite.items
    chat = asked_in_chat(suite, settings, subject.tokenizer)
    prompts = [encode_prompt(subject.tokenizer, prompt_of(i.question, chat=chat), settings.max_length) for i in items]
    longest = int(suite.options.get("max_new_tokens", MAX_NEW_TOKENS))
    texts = write_answers(
        subject.model,
        subject.tokenizer,
        prompts,
        longest,
        settings.batch_size,
        tick,
        subject.input_hash,
        first_line=not chat,
    )
    with_options = [item for item in items if item.choices]
    scores, truncated = likelihoods(subject, with_options, chat, settings, lambda _: None)
    options = iter(scores)
    return Asked(
        tuple(
            Response(answer=text, options=next(options) if item.choices else ())
            for item, text in zip(items, texts, strict=True)
        ),
        truncated,
    )


def _metrics(suite: Suite) -> tuple[Metric, ...]:
    items: Any = suite.items
    chance = [float(suite.options.get("chance", 0.0))] * len(items)  # of writing the right answer by luck
    written = Metric("contains", "format", chance=chance), Metric("exact_match", "format", chance=chance)
    if items and all(item.choices for item in items):
        return (Metric("accuracy", "knowledge", chance=[1 / len(item.choices) for item in items]), *written)
    return Metric("contains", "knowledge", chance=chance), written[1]


def _score(suite: Suite, index: int, response: Response) -> dict[str, float]:
    item: Any = suite.items[index]
    answer = response.answer or ""
    scores = {
        "contains": float(any(contains(answer, accepted) for accepted in item.answers)),
        "exact_match": float(any(exact_match(answer, accepted) for accepted in item.answers)),
    }
    if item.choices:
        scores["accuracy"] = float(pick(response.options) == item.answer)
        scores |= option_scores(item.choices, response.options)
    return scores


def _show(item: Question) -> tuple[str, str | None]:
    return item.question, " / ".join(item.answers[:4])


QUESTION = TaskType(
    name="question",
    forms=("question",),
    needs="causal-lm",
    about="Written answers: exactly right, or somewhere in the answer; and by likelihood where options are given.",
    ask=_ask,
    metrics=_metrics,
    score=_score,
    show=_show,
)
