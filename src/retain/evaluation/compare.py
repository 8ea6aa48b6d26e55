"""From two sides' answers to scores and items: everything paired, item by item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from retain.data.examples import Choice, Example
from retain.evaluation.answers import Answers
from retain.evaluation.metrics.choice import pick
from retain.evaluation.metrics.keep import keep_score
from retain.evaluation.metrics.task import task_score
from retain.evaluation.metrics.text import chrf, exact_match
from retain.evaluation.reference import WindowSums
from retain.evaluation.suites import Settings, Suites
from retain.results import Item, KeepScore, Side, TaskScore

WRITTEN_METRICS = {"chrf": chrf, "exact_match": exact_match}


def task_scores(suites: Suites, settings: Settings, base: Answers, tuned: Answers) -> tuple[TaskScore, ...]:
    """Cross-entropy of the completions (nats per token, over all tokens), and the quality of written answers."""
    if not suites.task:
        return ()
    tokens = np.asarray(base.task_tokens, dtype=np.float64)
    scores = [
        task_score(
            suites.task_name,
            "cross_entropy_nats_per_token",
            higher_is_better=False,
            base=np.asarray(base.task_nll) / tokens,
            tuned=np.asarray(tuned.task_nll) / tokens,
            weights=tokens,
            generator=np.random.default_rng(settings.seed),
        )
    ]
    scores += [
        task_score(
            suites.task_name,
            metric,
            higher_is_better=True,
            base=_written(suites.task, base.task_texts, metric),
            tuned=_written(suites.task, tuned.task_texts, metric),
            generator=np.random.default_rng(settings.seed),
        )
        for metric in (WRITTEN_METRICS if base.task_texts else ())
    ]
    return tuple(scores)


def keep_scores(suites: Suites, settings: Settings, base: Answers, tuned: Answers) -> tuple[KeepScore, ...]:
    """One score for each keep suite; chance is the mean over items of one in the number of choices."""
    return tuple(
        keep_score(
            name,
            _right(items, base.keep[name]),
            _right(items, tuned.keep[name]),
            chance=np.asarray([1 / len(item.choices) for item in items]),
            generator=np.random.default_rng(settings.seed),
        )
        for name, items in suites.keep.items()
    )


def all_items(
    suites: Suites, base: Answers, tuned: Answers, windows: Sequence[str], sums: WindowSums
) -> Iterator[Item]:
    """Every item with both answers and both scores: task, keep, reference windows."""
    for index, item in enumerate(suites.task):
        yield Item(
            part="task",
            suite=suites.task_name,
            index=index,
            question=item.prompt_text,
            expected=item.completion_text.strip(),
            base=_task_side(item, base, index),
            tuned=_task_side(item, tuned, index),
        )
    for name, choices in suites.keep.items():
        for index, choice in enumerate(choices):
            yield Item(
                part="keep",
                suite=name,
                index=index,
                question=choice.question,
                expected=choice.choices[choice.answer],
                base=_keep_side(choice, base.keep[name][index]),
                tuned=_keep_side(choice, tuned.keep[name][index]),
            )
    for index, text in enumerate(windows):
        tokens = sums.tokens[index]
        yield Item(
            part="reference",
            suite="reference",
            index=index,
            question=text,
            base=Side(scores={"cross_entropy_nats_per_token": sums.base_nll[index] / tokens}),
            tuned=Side(
                scores={
                    "cross_entropy_nats_per_token": sums.tuned_nll[index] / tokens,
                    "kl_nats_per_token": sums.kl[index] / tokens,
                    "churn": sums.churn[index] / tokens,
                }
            ),
        )


def _written(items: Sequence[Example], texts: Sequence[str], metric: str) -> np.ndarray:
    score = WRITTEN_METRICS[metric]
    return np.asarray(
        [score(text, item.completion_text.strip()) for text, item in zip(texts, items, strict=False)], dtype=np.float64
    )


def _right(items: Sequence[Choice], scores: Sequence[Sequence[float]]) -> np.ndarray:
    return np.asarray([pick(options) == item.answer for item, options in zip(items, scores, strict=True)], dtype=bool)


def _task_side(item: Example, side: Answers, index: int) -> Side:
    scores = {"cross_entropy_nats_per_token": side.task_nll[index] / side.task_tokens[index]}
    answer = side.task_texts[index] if index < len(side.task_texts) else None
    if answer is not None:
        expected = item.completion_text.strip()
        scores |= {metric: float(score(answer, expected)) for metric, score in WRITTEN_METRICS.items()}
    return Side(answer=answer, scores=scores)


def _keep_side(item: Choice, options: Sequence[float]) -> Side:
    chosen = pick(options)
    scores = {"accuracy": float(chosen == item.answer)}
    scores |= {f"log-likelihood of {choice!r}": value for choice, value in zip(item.choices, options, strict=True)}
    return Side(answer=item.choices[chosen], scores=scores)
