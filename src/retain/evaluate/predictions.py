"""One side's responses to every item: collected once for the base and once for each tuned model; plain values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.progress import Progress

from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.suites.suite import Settings, Suite, problems_of
from retain.evaluate.tasks.table import TASK_TYPES
from retain.evaluate.tasks.task_type import Response, Subject
from retain.hf.models.inference import device_of
from retain.records.result import Conditions


class Predictions(BaseModel):
    """What one model said.

    Attributes:
        responses: for each suite, its responses in the items' order.
        truncated: for each suite, how many items were longer than the longest sequence allowed.
        conditions: how it was asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    responses: dict[str, tuple[Response, ...]]
    truncated: dict[str, int]
    conditions: Conditions


def collect_predictions(
    model: Any, preprocessor: Preprocessor, suites: Sequence[Suite], settings: Settings, progress: Progress, label: str
) -> Predictions:
    """Put every item of every suite to a model.

    Args:
        model: as it stands (adapter on or off is the caller's choice).
        preprocessor: makes its inputs.
        suites: the items.
        settings: how they are put; the same for both sides.
        progress: display for the progress bar.
        label: whose answers these are, for the bar.

    Raises:
        InputError: the items of a suite cannot be asked together, see `problems_of`.
    """
    problems = [problem for suite in suites for problem in problems_of(suite)]
    if problems:
        raise InputError(problems)
    subject = Subject(model, preprocessor)
    bar = progress.add_task(label, total=sum(_steps(suite) for suite in suites))

    def tick(done: int) -> None:
        progress.advance(bar, done)

    asked = {suite.name: TASK_TYPES[suite.task_type].ask(subject, suite, settings, tick) for suite in suites}
    return Predictions(
        responses={name: found.responses for name, found in asked.items()},
        truncated={name: found.truncated for name, found in asked.items()},
        conditions=conditions(model, preprocessor, subject.input_hash.hash()),
    )


def conditions(model: Any, preprocessor: Preprocessor, input_hash: str) -> Conditions:
    """How a model is asked here."""
    whole = getattr(model, "get_base_model", lambda: model)()
    return Conditions(
        engine=engine(),
        dtype=str(getattr(whole, "dtype", "")).removeprefix("torch."),
        attention=str(getattr(whole.config, "_attn_implementation", "")),
        device=device_of(model).type,
        preprocessor_hash=preprocessor_hash(preprocessor),
        input_hash=input_hash,
    )


def engine() -> str:
    """What runs the models."""
    return f"transformers {version('transformers')}, torch {version('torch')}"


def preprocessor_hash(preprocessor: Preprocessor) -> str:
    """Names all that a reader does: vocabulary, template and a probe of a tokenizer; the settings of a processor."""
    tokenizer = getattr(preprocessor, "tokenizer", None)
    if tokenizer is None:
        told: Any = getattr(preprocessor, "processor").to_dict()  # noqa: B009 -- the other kind of reader
    else:
        told = [tokenizer.chat_template, sorted(tokenizer.get_vocab().items()), tokenizer.encode("A b\n c, 12.")]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _steps(suite: Suite) -> int:
    """How many sequences are put: all options of a choice, else one an item."""
    if suite.task_type == "choice":
        return sum(len(getattr(item, "choices", ())) for item in suite.items)
    return len(suite.items)
