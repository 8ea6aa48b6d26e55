"""Predictions: one model's responses to every item, as plain values; collected once for each side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import reduce
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ConfigDict

from retain.data.batches import Batching, stricter
from retain.data.family import Head
from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.batching import batching_of, mixes_items
from retain.evaluate.input_hash import InputHash
from retain.evaluate.shares import ALONE, Share
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.predictor import LocalPredictor, Predictor
from retain.evaluate.tasks.table import suite_problems, task_type_of
from retain.evaluate.tasks.task_type import Response
from retain.events import Events
from retain.hf.models.inference import device_of, evaluating
from retain.hf.models.memory import telling_memory
from retain.records.result import Conditions


class Predictions(BaseModel):
    """The responses of one model.

    Attributes:
        responses: for each suite, its responses in the items' order.
        truncated: for each suite, how many items were longer than the longest sequence allowed.
        longest_answers: for each suite with written answers, their limit in tokens.
        conditions: under which they were collected.
        batching: which items the model was given together.
        kept_on: the day on which an earlier run collected them, where they come from a cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    responses: dict[str, tuple[Response, ...]]
    truncated: dict[str, int]
    longest_answers: dict[str, int] = {}
    conditions: Conditions
    batching: Batching = "padded"
    kept_on: str = ""


def collect_predictions(
    model: Any,
    preprocessor: Preprocessor,
    suites: Sequence[Suite],
    settings: Settings,
    events: Events,
    label: str,
    *,
    base: Callable[[], AbstractContextManager[Any]] | None = None,
    batching: Batching | None = None,
    share: Share = ALONE,
) -> Predictions:
    """Collect the responses of a model to every item of every suite.

    Args:
        model: as it stands (adapter on or off is the caller's choice).
        preprocessor: makes its inputs.
        suites: the items.
        settings: how items become inputs; the same for both sides.
        events: receives the progress.
        label: names the model in the progress.
        base: opens the untouched base, for suites whose index is the base's. [the model is it]
        batching: which items the model is given together. [as the model bears it, see `retain.evaluate.batching`]
        share: the batches that this process runs; each of the others runs its own, and all get all responses.

    Raises:
        InputError: the items of a suite cannot be measured together, see `suite_problems`.
    """
    problems = [problem for suite in suites for problem in suite_problems(suite)]
    if problems:
        raise InputError(problems)
    task = events.task(label, total=sum(task_type_of(suite).steps(suite) for suite in suites))
    predictor = LocalPredictor(model, preprocessor, settings, task.advance, base=base)
    with evaluating(model), telling_memory("measuring"):
        if batching is None:
            everywhere: list[Batching] = share.everywhere(borne(predictor, suites))
            batching = _strictest(everywhere)
        predictor = replace(predictor, batching=batching, share=share)
        return predictions_by(
            predictor,
            suites,
            lambda: conditions(model, preprocessor, predictor.input_hash.hash()),
            batching=batching,
        )


def predictions_by(
    predictor: Predictor, suites: Sequence[Suite], known: Callable[[], Conditions], *, batching: Batching = "padded"
) -> Predictions:
    """The predictions of one side on all suites.

    Args:
        predictor: of the side.
        suites: the items.
        known: gives the conditions, when all is asked.
        batching: which items are read together.
    """
    found = {suite.name: task_type_of(suite).predict(suite, predictor) for suite in suites}
    limits = {suite.name: task_type_of(suite).written_tokens(suite, predictor.settings) for suite in suites}
    return Predictions(
        responses={name: one.responses for name, one in found.items()},
        truncated={name: one.truncated for name, one in found.items()},
        longest_answers={name: tokens for name, tokens in limits.items() if tokens},
        conditions=known(),
        batching=batching,
    )


def _strictest(found: Sequence[Batching]) -> Batching:
    """The strictest of several rules."""
    return reduce(stricter, found[1:], found[0])


def borne(predictor: LocalPredictor, suites: Sequence[Suite]) -> Batching:
    """The items that a model of text may read together, as far as these suites read it."""
    batching: Batching = "padded"
    if not predictor.preprocessor.reads_text:
        return batching
    for head in sorted({task_type_of(suite).needs for suite in suites}):
        if head == "causal-lm":
            batching = stricter(batching, batching_of(predictor.model, predictor.preprocessor))
            continue
        texts = [item.texts[0] for suite in suites if task_type_of(suite).needs == head for item in suite.items[:1]]
        if texts and _mixes(predictor, head, texts[0]):
            batching = stricter(batching, "one length")
    return batching


def _mixes(predictor: LocalPredictor, head: Head, text: str) -> bool:
    """Tell whether a classifier or an encoder reads a text otherwise beside a longer one."""

    def read(some: Sequence[str], size: int) -> Any:
        apart = replace(predictor, settings=replace(predictor.settings, batch_size=size), input_hash=InputHash())
        return apart.uncounted.log_probabilities(some) if head == "classifier" else apart.uncounted.features(some)

    return mixes_items(read, predictor.preprocessor, text, predictor.model)


def conditions(model: Any, preprocessor: Preprocessor, input_hash: str) -> Conditions:
    """The conditions under which a model responds here."""
    root = getattr(model, "get_base_model", lambda: model)()
    return Conditions(
        engine=engine(),
        dtype=str(getattr(root, "dtype", "")).removeprefix("torch."),
        attention=str(getattr(root.config, "_attn_implementation", "")),
        device=device_of(model).type,
        preprocessor_hash=preprocessor.identity(),
        input_hash=input_hash,
    )


def kept_note(predictions: Predictions) -> list[str]:
    """A note where the predictions of a base come from a cache."""
    if not predictions.kept_on:
        return []
    kept = f"its predictions are those that a run kept on {predictions.kept_on} for the same base, items and settings"
    return [f"The base was not asked again: {kept}; --cache off asks it."]


def engine() -> str:
    """The versions of the libraries that run the models."""
    return f"transformers {version('transformers')}, torch {version('torch')}"
