"""Prompts with one expected completion: how surprised the model is by it, and how near it comes in writing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retain.data.examples import Example
from retain.data.tokens import encode_example, encode_prompt
from retain.evaluate.generate import score_nll, write_answers
from retain.evaluate.scores.text import chrf, exact_match, rouge_l
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.task_type import Asked, Metric, Response, Subject, TaskType, Tick
from retain.hf.models.inference import padding_id

CROSS_ENTROPY = "cross_entropy_nats_per_token"
WRITTEN: dict[str, Callable[[str, str], float]] = {"chrf": chrf, "rouge_l": rouge_l, "exact_match": exact_match}


def _ask(subject: Subject, suite: Suite, settings: Settings, tick: Tick) -> Asked:
    tokenizer = subject.tokenizer
    items: Any = suite.items
    rows = [encode_example(tokenizer, item, settings.max_length) for item in items]
    nll = score_nll(subject.model, rows, padding_id(tokenizer), settings.batch_size, tick, subject.input_hash)
    written = items[: int(suite.options.get("generate", settings.generate))]
    prompts = [encode_prompt(tokenizer, item, settings.max_length) for item in written]
    longest = int(suite.options.get("max_new_tokens", settings.max_new_tokens))
    texts: list[str | None] = [
        *write_answers(
            subject.model, tokenizer, prompts, longest, settings.batch_size, lambda _: None, subject.input_hash
        )
    ]
    texts += [None] * (len(items) - len(texts))
    responses = [
        Response(answer=text, values={"nats": nats, "tokens": float(len(row.ids) - row.start)})
        for text, nats, row in zip(texts, nll, rows, strict=True)
    ]
    return Asked(tuple(responses), sum(row.truncated for row in rows))


def _metrics(suite: Suite) -> tuple[Metric, ...]:
    del suite
    return (
        Metric(CROSS_ENTROPY, "knowledge", right_or_wrong=False, higher_is_better=False),
        Metric("chrf", right_or_wrong=False),
        Metric("rouge_l", right_or_wrong=False),
        Metric("exact_match"),
    )


def _score(suite: Suite, index: int, response: Response) -> dict[str, float]:
    item: Any = suite.items[index]
    scores = {CROSS_ENTROPY: response.values["nats"] / response.values["tokens"]}
    if response.answer is not None:
        expected = item.completion_text.strip()
        scores |= {name: float(metric(response.answer, expected)) for name, metric in WRITTEN.items()}
    return scores


def _show(item: Example) -> tuple[str, str | None]:
    return item.prompt_text, item.completion_text.strip()


COMPLETION = TaskType(
    name="completion",
    forms=("completion",),
    needs="causal-lm",
    about="Cross-entropy of the expected completion; chrF, ROUGE-L and exact match of what the model writes.",
    ask=_ask,
    metrics=_metrics,
    score=_score,
    show=_show,
    weight={CROSS_ENTROPY: "tokens"},
)
