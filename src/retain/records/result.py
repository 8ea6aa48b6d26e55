"""The record of one run: the one schema that evaluation writes and the report reads. Plain values, no torch.

`result.json` is a `Result`; `items.jsonl` beside it holds one `Item` a line, so that each figure can be looked behind.
Every interval is two-sided, 95 %, and paired: a bootstrap that resamples items (windows for the held-out text); for
right-or-wrong metrics with fewer than 20 changed items a closed form from exact binomial limits, because a bootstrap of
so few changes is too narrow (`retain.stats.bootstrap`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from retain.errors import InputError
from retain.records.base import Record
from retain.records.budget_record import BudgetRecord, Scaling
from retain.records.conversion_record import Conversion
from retain.records.drift_record import Drift
from retain.records.files import write_text
from retain.records.gone_record import GoneScore
from retain.records.manifest import check_unchanged
from retain.records.paths import expanded
from retain.records.reading import read_json_mapping
from retain.records.scores import Breakdown, CalibrationScore, KeepScore, Shift, TaskScore
from retain.records.served_record import ALIKE_WHERE_SERVED, ActingCheck, ServedSide
from retain.records.upgrade import FIRST_SCHEMA, upgraded
from retain.records.verdicts import Judgement

SCHEMA: Literal["retain.result/2"] = "retain.result/2"
"""Name and major version of the record; raised when a field changes its meaning or goes."""


class MethodRecord(Record):
    """The method that changed the model, with the configuration that it was trained with."""

    name: str
    config: dict[str, Any] = Field(default_factory=dict)


class Parameters(Record):
    """Sizes. `adapter_bytes` is what lies on disk to carry the change (adapter weights, or the full model's)."""

    trainable: int
    total: int
    adapter_bytes: int


class Conditions(Record):
    """The conditions of one side; equal on both sides in every field. `input_hash` covers all inputs of the model.

    Where a side is served (`Result.served`), only what it was asked is equal: the two run on different engines.
    """

    engine: str
    dtype: str
    attention: str
    device: str
    preprocessor_hash: str
    input_hash: str


class CurvePoint(Record):
    """One moment of the training: mean loss since the last point, learning rate; what was monitored, or null.

    `kl_nats_per_token` = KL(base ‖ tuned) on a few probe texts, or what a KL penalty compared; `kl_weight` the KL
    penalty's weight; `feature_kl_nats` the feature penalty without its weight; `ewc_nats_per_token` half the sum of the
    squared changes of weights by their Fisher information; `update_size` the update's size in the unit that was
    limited, after limiting.
    """

    step: int
    loss: float
    learning_rate: float
    kl_nats_per_token: float | None = None
    kl_weight: float | None = None
    feature_kl_nats: float | None = None
    ewc_nats_per_token: float | None = None
    update_size: float | None = None


class Cost(Record):
    """The cost of training on this machine; zeros where nothing was trained here.

    `tokens` counts all tokens read in training but padding, prompts included. `calibration_seconds` is what went before
    it, for a data-driven initialisation: reading or writing texts, unless that was done before, and solving.
    `scaling_seconds` is what certifying a budget along the scaling path took.
    """

    train_seconds: float = 0.0
    calibration_seconds: float = 0.0
    steps: int = 0
    step_seconds_median: float = 0.0
    tokens: int = 0
    peak_rss_bytes: int = 0
    measure_seconds: float = 0.0
    scaling_seconds: float = 0.0
    final_train_loss: float | None = None


class Provenance(Record):
    """The origin of the figures, enough to make them again. `items_hash` is the SHA-256 of `items.jsonl`."""

    command: str
    created: str
    versions: dict[str, str]
    data_hashes: dict[str, str]
    model_hash: str
    items_hash: str = ""
    notes: tuple[str, ...] = ()


class SuiteFacts(Record):
    """Facts of a suite from its own file, enough to find and cite it."""

    name: str
    task_type: str
    part: Literal["task", "keep", "gone"]
    title: str = ""
    version: int = 1
    source: str = ""
    licence: str = ""
    detector_error: str = ""


class Result(Record):
    """The record of one run; see the module's text for the schema's rules.

    `training` holds the recipe's fields that decided the training, beside method, seed and learning rate; it is empty
    for a model that was trained elsewhere. `margins` are the losses that still count as kept: as a share, for
    metrics that have a largest value, and in nats per token; `gone_margin` is the largest share of what the base knew
    that counts as gone, and stands where something should be. `resampling_seed` is that of every interval and of every
    sign drawn for a test. `served` has the sides that were asked through a server or a file of llama.cpp, and `acting`
    whether the adapter acts there. `conversion` has what was made of the tuned model, as a third side.

    Examples:
        >>> result = retain.read_result(Path("runs/first/result.json"))
        >>> result.method.name
        'lora'
    """

    schema_: Literal["retain.result/2"] = Field(default=SCHEMA, alias="schema")
    model: str
    method: MethodRecord
    seed: int | None
    learning_rate: float | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    parameters: Parameters
    judgement: Judgement | None = None
    margins: tuple[float, float] | None = None
    gone_margin: float | None = None
    resampling_seed: int = 0
    task: tuple[TaskScore, ...] = ()
    keep: tuple[KeepScore, ...] = ()
    gone: tuple[GoneScore, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    shifts: tuple[Shift, ...] = ()
    calibration: tuple[CalibrationScore, ...] = ()
    drift: Drift = Drift()
    budget: tuple[BudgetRecord, ...] = ()
    scaling: Scaling | None = None
    cost: Cost = Cost()
    curve: tuple[CurvePoint, ...] = ()
    conditions: dict[Literal["base", "tuned"], Conditions] | None = None
    served: dict[Literal["base", "tuned", "converted"], ServedSide] = Field(default_factory=dict)
    acting: ActingCheck | None = None
    conversion: Conversion | None = None
    suites: tuple[SuiteFacts, ...] = ()
    provenance: Provenance

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    @property
    def unlike_conditions(self) -> list[str]:
        """The conditions in which the sides should agree and do not; none where nothing is recorded."""
        if self.conditions is None or len(self.conditions) < 2:
            return []
        base, tuned = (self.conditions[side].model_dump() for side in ("base", "tuned"))
        needed = ALIKE_WHERE_SERVED if self.served.keys() & {"base", "tuned"} else tuple(base)
        return [name for name in needed if base[name] != tuned[name]]


def write_result(result: Result, path: Path) -> None:
    """Write `result.json`, atomically."""
    write_text(path, result.model_dump_json(by_alias=True, indent=2) + "\n")


def read_result(path: str | Path) -> Result:
    """Read a `result.json`, of this schema or of `retain.result/1`.

    Args:
        path: the file, or the folder of the run that it lies in.

    Raises:
        InputError: the file is missing, is no JSON, is no record of a schema that this version reads, or was changed
            since retain wrote it.

    Examples:
        >>> retain.read_result("runs/first").schema_
        'retain.result/2'
    """
    try:
        path = expanded(os.fspath(path))
    except TypeError as error:
        found = type(path).__name__
        raise InputError(f"path: {found} was given; give the path of a result.json, or of a run's folder.") from error
    path = path / "result.json" if path.is_dir() else path
    check_unchanged(path)
    try:
        fields = read_json_mapping(path)
    except InputError as error:
        raise InputError(f"{path}: no readable result record: {str(error).removeprefix(f'{path}: ')}") from error
    schema = fields.get("schema")
    if schema not in (SCHEMA, FIRST_SCHEMA):
        raise InputError(
            f"{path}: record of schema {schema!r}; this version of retain reads {SCHEMA!r} and {FIRST_SCHEMA!r}."
        )
    try:
        return Result.model_validate(upgraded(fields) if schema == FIRST_SCHEMA else fields)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: damaged result record: {error}") from error
