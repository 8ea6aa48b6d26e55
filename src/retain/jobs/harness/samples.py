"""Samples of lm-evaluation-harness as values: question, answer, scores, and what luck gets right.

A sample is one item read in one way (`filter`), as the harness gives it or as `--log_samples` writes it, once its
arguments are lists again (`retain.jobs.judge.read_lm_eval`). No torch here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retain.errors import RetainError
from retain.evaluate.scores.without_reading import ALMOST_SURE, best, of_choices
from retain.jobs.harness.harness_metric import harness_metric
from retain.records.items import Side
from retain.records.metric import Metric


@dataclass(frozen=True)
class HarnessItem:
    """One question of a task as the model read it, and the answer that is right, where there is one."""

    question: str
    expected: str | None


@dataclass(frozen=True)
class HarnessSuite:
    """One task, answered by both sides.

    Attributes:
        name: of the task.
        version: of the task, as its file says.
        metric: the one that the task names first.
        chance: share that guessing gets right, or one same answer to everything, whichever is more.
        items: in the task's own order.
        base: the base's answers, with its scores by metric.
        tuned: the tuned model's, likewise.
    """

    name: str
    version: str
    metric: Metric
    chance: float
    items: tuple[HarnessItem, ...]
    base: tuple[Side, ...]
    tuned: tuple[Side, ...]


def paired(name: str, base: Mapping[str, Any], tuned: Mapping[str, Any]) -> HarnessSuite:
    """One task of two results of the harness as a suite.

    Args:
        name: of the task.
        base: the result of the harness for the base, with samples.
        tuned: the same for the tuned model.

    Raises:
        RetainError: the two sides did not get the same requests, or no metric is one number an item.
    """
    sides = [by_item(result["samples"][name]) for result in (base, tuned)]
    requests = [[(key, sample["prompt_hash"], sample["target_hash"]) for key, sample in side.items()] for side in sides]
    if requests[0] != requests[1]:
        raise RetainError(f"task {name}: base and tuned model were not asked the same questions.")
    scores = [[item_scores(sample) for sample in side.values()] for side in sides]
    common = [metric for metric in scores[0][0] if all(metric in each for side in scores for each in side)]
    if not common:
        raise RetainError(f"task {name}: none of its metrics gives one number an item, so the sides cannot be paired.")
    answers = [[answer_of(sample) for sample in side.values()] for side in sides]
    first = list(sides[0].values())
    return HarnessSuite(
        name=name,
        version=str(base.get("versions", {}).get(name, "")),
        metric=harness_metric(common[0], name, base, scores),
        chance=chance_of(first),
        items=tuple(HarnessItem(question_of(sample), expected_of(sample)) for sample in first),
        base=_side(answers[0], scores[0]),
        tuned=_side(answers[1], scores[1]),
    )


def _side(answers: Sequence[str | None], scores: Sequence[dict[str, float]]) -> tuple[Side, ...]:
    return tuple(Side(answer=answer, scores=score) for answer, score in zip(answers, scores, strict=True))


def by_item(samples: Sequence[Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
    """One sample for each item, in order; where answers are read in several ways, their metrics are joined.

    A metric of one of several ways is named as the harness prints it: `exact_match,strict-match`.
    """
    ways = {sample["filter"] for sample in samples}
    items: dict[Any, dict[str, Any]] = {}
    for sample in samples:
        item = items.setdefault(sample["doc_id"], {**sample, "scores": {}})
        for metric in sample["metrics"]:
            item["scores"][metric if len(ways) == 1 else f"{metric},{sample['filter']}"] = sample[metric]
    return dict(sorted(items.items()))


def item_scores(sample: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are one finite number for the item; others (as a reference with its answer) are left out."""
    numbers = {name: value for name, value in sample["scores"].items() if isinstance(value, (int, float, np.number))}
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def _requests(sample: Mapping[str, Any]) -> list[Any]:
    """The requests to the model; of options that were also given without their question, only those with it."""
    requests = list(sample["arguments"])
    return [request for request in requests if request[0]] or requests


def options_of(sample: Mapping[str, Any]) -> list[str]:
    """The options of a multiple choice that share one context; nothing for other tasks."""
    requests = _requests(sample)
    contexts = {request[0] for request in requests}
    texts = [request[1] for request in requests if len(request) > 1 and isinstance(request[1], str)]
    return texts if len(texts) == len(requests) > 1 and len(contexts) == 1 else []


def chance_of(samples: Sequence[Mapping[str, Any]]) -> float:
    """Mean of 1 / options, whether they share their context or not; at least what can be had without reading.

    That is the share of the commonest right answer, as "A" or "yes", which a task may ask for in writing; and of
    options that share their context the best of `without_reading.of_choices`.
    """
    guessed = np.mean([_guessed(_requests(sample)) for sample in samples])
    commonest = max(Counter(str(expected_of(sample)) for sample in samples).values()) / len(samples)
    options, targets = [options_of(sample) for sample in samples], [sample["target"] for sample in samples]
    picked = all(
        type(target) is int and 0 <= target < len(texts) for texts, target in zip(options, targets, strict=True)
    )
    unread = best(of_choices(options, targets)).mean if picked else 0.0
    return min(max(float(guessed), commonest, unread), ALMOST_SURE)


def _guessed(requests: Sequence[Any]) -> float:
    """Probability of guessing right: 1 / options of a multiple choice, 0 for what is written or has one option."""
    several = len(requests) > 1 and all(isinstance(request[1], str) for request in requests if len(request) > 1)
    return 1 / len(requests) if several else 0.0


def question_of(sample: Mapping[str, Any]) -> str:
    """What the model was asked."""
    return str(sample["arguments"][0][0])


def expected_of(sample: Mapping[str, Any]) -> str | None:
    """The right answer as text; None where the sample has none."""
    target, options = sample["target"], options_of(sample)
    if options and isinstance(target, int) and not isinstance(target, bool):
        return options[target].strip() if 0 <= target < len(options) else None
    if isinstance(target, (list, tuple)):
        return " / ".join(str(part) for part in target)
    return None if target is None else str(target).strip()


def answer_of(sample: Mapping[str, Any]) -> str | None:
    """The option that the model finds most likely, or what it wrote."""
    responses, options = sample["filtered_resps"], options_of(sample)
    pairs = [one for one in responses if isinstance(one, (list, tuple)) and one]
    likelihoods = [float(one[0]) for one in pairs if isinstance(one[0], (int, float, np.number))]
    if options and len(likelihoods) == len(responses) == len(options):
        return options[int(np.argmax(likelihoods))].strip()
    return responses[0] if responses and isinstance(responses[0], str) else None
