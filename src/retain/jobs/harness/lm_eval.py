"""Tasks of lm-evaluation-harness as suites: both sides answer them through its own code, and are paired item by item.

lm-evaluation-harness (EleutherAI, MIT) is an extra. Its tasks are YAML files too; one's own and those that come with it
may run Python code that lies beside them.
"""

from __future__ import annotations

import copy
import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retain.errors import InputError, RetainError
from retain.evaluate.pair import Pair
from retain.evaluate.scores.without_reading import ALMOST_SURE, best, of_choices
from retain.jobs.harness.harness_metric import harness_metric
from retain.records.items import Side
from retain.records.metric import Metric

INSTALL = "pip install 'retain[lm-eval]'"


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


@dataclass(frozen=True)
class HarnessSettings:
    """The settings of the harness, the same for both sides.

    Attributes:
        limit: items of each task at most. [all]
        num_fewshot: examples shown before each question. [what the task says]
        include_path: folder with task files of one's own.
        batch_size: sequences scored at once.
        max_length: longest sequence, in tokens. [what the model says]
        chat: whether questions go through the chat template.
        seed: of the examples shown and of whatever a task draws.
    """

    limit: int | None = None
    num_fewshot: int | None = None
    include_path: str | Path | None = None
    batch_size: int = 32
    max_length: int | None = None
    chat: bool = False
    seed: int = 0


def run_tasks(
    pair: Pair, tokenizer: Any, tasks: Sequence[str], settings: HarnessSettings = HarnessSettings()
) -> list[HarnessSuite]:
    """Put tasks to base and tuned model: the base is seen as everywhere, with the adapter off or as a second model.

    Args:
        pair: the two sides.
        tokenizer: that of the base; it is not changed.
        tasks: names of tasks or groups; a group gives its tasks.
        settings: those of the harness.

    Raises:
        InputError: lm-evaluation-harness is not installed, or there is no such task, or its data cannot be loaded.
        RetainError: the two sides did not get the same requests.
    """
    with pair.base() as model:
        base = run_harness(model, tokenizer, tasks, settings)
    with pair.tuned() as model:
        tuned = run_harness(model, tokenizer, tasks, settings)
    return [paired(name, base, tuned) for name in base["samples"]]


def run_harness(model: Any, tokenizer: Any, tasks: Sequence[str], settings: HarnessSettings) -> Mapping[str, Any]:
    """Run the harness on one model and keep every sample.

    Model and random states come back as they were.

    Args:
        model: a causal language model, loaded, with or without adapters.
        tokenizer: its tokenizer.
        tasks: names of tasks or groups.
        settings: those of the harness.

    Raises:
        InputError: see `run_tasks`.
    """
    try:
        from lm_eval import simple_evaluate  # noqa: PLC0415  (an extra)
        from lm_eval.models.huggingface import HFLM  # noqa: PLC0415
    except ImportError as error:
        raise InputError(
            f"tasks of lm-evaluation-harness were asked for, which is not installed ({error}): {INSTALL}"
        ) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = _manager(tasks, settings.include_path)
    with _unchanged(model):
        preprocessor = HFLM(
            pretrained=model,
            tokenizer=copy.deepcopy(tokenizer),
            batch_size=settings.batch_size,
            max_length=settings.max_length,
        )
        try:
            found = simple_evaluate(
                model=preprocessor,
                tasks=list(tasks),
                task_manager=manager,
                num_fewshot=settings.num_fewshot,
                limit=settings.limit,
                apply_chat_template=settings.chat,
                log_samples=True,
                bootstrap_iters=0,
                random_seed=settings.seed,
                numpy_random_seed=settings.seed,
                torch_random_seed=settings.seed,
                fewshot_random_seed=settings.seed,
            )
        except (OSError, ValueError, KeyError, AssertionError) as error:
            raise InputError(f"tasks {', '.join(tasks)}: lm-evaluation-harness cannot run them ({error}).") from error
    if found is None:
        raise InputError("lm-evaluation-harness gives no result on this process; run it on one process.")
    result: Mapping[str, Any] = found
    return result


def paired(name: str, base: Mapping[str, Any], tuned: Mapping[str, Any]) -> HarnessSuite:
    """One task of two results of the harness as a suite.

    Args:
        name: of the task.
        base: the result of the harness for the base, with samples.
        tuned: the same for the tuned model.

    Raises:
        RetainError: the two sides did not get the same requests, or no metric is one number an item.
    """
    sides = [_by_item(result["samples"][name]) for result in (base, tuned)]
    requests = [[(key, sample["prompt_hash"], sample["target_hash"]) for key, sample in side.items()] for side in sides]
    if requests[0] != requests[1]:
        raise RetainError(f"task {name}: base and tuned model were not asked the same questions.")
    scores = [[_scores(sample) for sample in side.values()] for side in sides]
    common = [metric for metric in scores[0][0] if all(metric in each for side in scores for each in side)]
    if not common:
        raise RetainError(f"task {name}: none of its metrics gives one number an item, so the sides cannot be paired.")
    answers = [[_answer(sample) for sample in side.values()] for side in sides]
    first = list(sides[0].values())
    return HarnessSuite(
        name=name,
        version=str(base.get("versions", {}).get(name, "")),
        metric=harness_metric(common[0], name, base, scores),
        chance=_chance(first),
        items=tuple(HarnessItem(_question(sample), _expected(sample)) for sample in first),
        base=_side(answers[0], scores[0]),
        tuned=_side(answers[1], scores[1]),
    )


def _side(answers: Sequence[str | None], scores: Sequence[dict[str, float]]) -> tuple[Side, ...]:
    return tuple(Side(answer=answer, scores=score) for answer, score in zip(answers, scores, strict=True))


def _by_item(samples: Sequence[Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
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


def _scores(sample: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are one finite number for the item; others (as a reference with its answer) are left out."""
    numbers = {name: value for name, value in sample["scores"].items() if isinstance(value, (int, float, np.number))}
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def _requests(sample: Mapping[str, Any]) -> list[Any]:
    """The requests to the model; of options that were also given without their question, only those with it."""
    requests = list(sample["arguments"])
    return [request for request in requests if request[0]] or requests


def _options(sample: Mapping[str, Any]) -> list[str]:
    """The options of a multiple choice that share one context; nothing for other tasks."""
    requests = _requests(sample)
    contexts = {request[0] for request in requests}
    texts = [request[1] for request in requests if isinstance(request[1], str)]
    return texts if len(texts) == len(requests) > 1 and len(contexts) == 1 else []


def _chance(samples: Sequence[Mapping[str, Any]]) -> float:
    """Mean of 1 / options, whether they share their context or not; at least what can be had without reading.

    That is the share of the commonest right answer, as "A" or "yes", which a task may ask for in writing; and of
    options that share their context the best of `without_reading.of_choices`.
    """
    guessed = np.mean([_guessed(_requests(sample)) for sample in samples])
    commonest = max(Counter(str(_expected(sample)) for sample in samples).values()) / len(samples)
    options, targets = [_options(sample) for sample in samples], [sample["target"] for sample in samples]
    picked = all(
        type(target) is int and 0 <= target < len(texts) for texts, target in zip(options, targets, strict=True)
    )
    unread = best(of_choices(options, targets)).mean if picked else 0.0
    return min(max(float(guessed), commonest, unread), ALMOST_SURE)


def _guessed(requests: Sequence[Any]) -> float:
    """Probability of guessing right: 1 / options of a multiple choice, 0 for what is written or has one option."""
    several = len(requests) > 1 and all(isinstance(request[1], str) for request in requests)
    return 1 / len(requests) if several else 0.0


def _question(sample: Mapping[str, Any]) -> str:
    return str(sample["arguments"][0][0])


def _expected(sample: Mapping[str, Any]) -> str | None:
    target, options = sample["target"], _options(sample)
    if options and isinstance(target, int) and not isinstance(target, bool):
        return options[target].strip() if 0 <= target < len(options) else None
    if isinstance(target, (list, tuple)):
        return " / ".join(str(part) for part in target)
    return None if target is None else str(target).strip()


def _answer(sample: Mapping[str, Any]) -> str | None:
    """The option that the model finds most likely, or what it wrote."""
    responses, options = sample["filtered_resps"], _options(sample)
    if options and len(responses) == len(options):
        return options[int(np.argmax([response[0] for response in responses]))].strip()
    return responses[0] if responses and isinstance(responses[0], str) else None


def _manager(tasks: Sequence[str], include_path: str | Path | None) -> Any:
    """The harness's list of tasks; its own thousands are read only where one of them is asked for.

    Raises:
        InputError: there is no such folder or task.
    """
    from lm_eval.tasks import TaskManager  # noqa: PLC0415  (an extra)

    if include_path is not None and not Path(include_path).is_dir():
        raise InputError(f"include_path: there is no folder {include_path}.")
    path = None if include_path is None else str(include_path)
    own = TaskManager(include_path=path, include_defaults=False)
    manager = own if set(tasks) <= set(own.all_tasks) else TaskManager(include_path=path)
    unknown = sorted(set(tasks) - set(manager.all_tasks))
    if unknown:
        raise InputError(
            f"tasks: lm-evaluation-harness knows no {', '.join(unknown)}; `lm_eval --tasks list` shows those that come "
            "with it, include_path names a folder with your own."
        )
    return manager


@contextmanager
def _unchanged(model: Any) -> Iterator[None]:
    """Leave mode of the model and random states of Python, NumPy and torch as they were."""
    modes = [(module, module.training) for module in model.modules()]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the harness seeds the global one)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        for module, training in modes:
            module.training = training
