"""Predictions: one model's responses to every item, as plain values; collected once for each side."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ConfigDict

from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.predictor import Predictor
from retain.evaluate.tasks.table import suite_problems, task_type_of
from retain.evaluate.tasks.task_type import Response
from retain.events import Events
from retain.hf.models.inference import device_of
from retain.records.result import Conditions


class Predictions(BaseModel):
    """The responses of one model.

    Attributes:
        responses: for each suite, its responses in the items' order.
        truncated: for each suite, how many items were longer than the longest sequence allowed.
        longest_answers: for each suite with written answers, their limit in tokens.
        conditions: under which they were collected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    responses: dict[str, tuple[Response, ...]]
    truncated: dict[str, int]
    longest_answers: dict[str, int] = {}
    conditions: Conditions


def collect_predictions(
    model: Any, preprocessor: Preprocessor, suites: Sequence[Suite], settings: Settings, events: Events, label: str
) -> Predictions:
    """Collect the responses of a model to every item of every suite.

    Args:
        model: as it stands (adapter on or off is the caller's choice).
        preprocessor: makes its inputs.
        suites: the items.
        settings: how items become inputs; the same for both sides.
        events: receives the progress.
        label: names the model in the progress.

    Raises:
        InputError: the items of a suite cannot be measured together, see `suite_problems`.
    """
    problems = [problem for suite in suites for problem in suite_problems(suite)]
    if problems:
        raise InputError(problems)
    task = events.task(label, total=sum(task_type_of(suite).steps(suite) for suite in suites))
    predictor = Predictor(model, preprocessor, settings, task.advance)
    found = {suite.name: task_type_of(suite).predict(suite, predictor) for suite in suites}
    return Predictions(
        responses={name: one.responses for name, one in found.items()},
        truncated={name: one.truncated for name, one in found.items()},
        longest_answers={name: one.longest_answer for name, one in found.items() if one.longest_answer is not None},
        conditions=conditions(model, preprocessor, predictor.input_hash.hash()),
    )


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


def engine() -> str:
    """The versions of the libraries that run the models."""
    return f"transformers {version('transformers')}, torch {version('torch')}"
