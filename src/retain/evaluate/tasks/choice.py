"""Multiple choice by likelihood: the option that the model finds most likely is its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retain.data.examples import Choice
from retain.data.items import Question
from retain.data.tokens import encode_choice
from retain.evaluate.generate import score_nll
from retain.evaluate.scores.option_choice import pick, units
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.task_type import Asked, Metric, Response, Subject, TaskType, Tick
from retain.hf.models.inference import padding_id


def likelihoods(
    subject: Subject, items: Sequence[Choice | Question], chat: bool, settings: Settings, tick: Tick
) -> tuple[list[tuple[float, ...]], int]:
    """Log-likelihood of every option of every item in nats, normalised as the settings say; and how many were cut."""
    tokenizer = subject.tokenizer
    rows = [encode_choice(tokenizer, item, chat=chat, max_length=settings.max_length) for item in items]
    flat = [row for options in rows for row in options]
    nll = iter(score_nll(subject.model, flat, padding_id(tokenizer), settings.batch_size, tick, subject.input_hash))
    scores = []
    for options, item in zip(rows, items, strict=True):
        tokens = [len(row.ids) - row.start for row in options]
        lengths = units(settings.keep_score, len(options), tokens, item.choices)
        scores.append(tuple(-next(nll) / unit for unit in lengths))
    return scores, sum(any(row.truncated for row in options) for options in rows)


def _ask(subject: Subject, suite: Suite, settings: Settings, tick: Tick) -> Asked:
    items: Any = suite.items
    chat = suite.options.get("format", settings.keep_format) == "chat"
    scores, truncated = likelihoods(subject, items, chat, settings, tick)
    return Asked(
        tuple(
            Response(answer=item.choices[pick(options)], options=options)
            for item, options in zip(items, scores, strict=True)
        ),
        truncated,
    )


def _metrics(suite: Suite) -> tuple[Metric, ...]:
    items: Any = suite.items
    given = suite.options.get("chance")
    chance = [1 / len(item.choices) if given is None else float(given) for item in items]
    return (Metric("accuracy", "knowledge", chance=chance),)


def _score(suite: Suite, index: int, response: Response) -> dict[str, float]:
    item: Any = suite.items[index]
    scores = {"accuracy": float(pick(response.options) == item.answer)}
    return scores | option_scores(item.choices, response.options)


def option_scores(choices: Sequence[str], options: Sequence[float]) -> dict[str, float]:
    """The log-likelihood of each option, named so that a reader of items.jsonl understands it."""
    return {f"log-likelihood of {choice!r}": value for choice, value in zip(choices, options, strict=True)}


def _show(item: Choice) -> tuple[str, str | None]:
    return item.question, item.choices[item.answer]


CHOICE = TaskType(
    name="choice",
    forms=("choice",),
    needs="causal-lm",
    about="Accuracy of the option that the model finds most likely.",
    ask=_ask,
    metrics=_metrics,
    score=_score,
    show=_show,
)
