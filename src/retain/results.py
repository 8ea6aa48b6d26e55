"""The record of one run: the one schema that evaluation writes and the report reads. Plain values, no torch.

`result.json` is a `Result`; `items.jsonl` beside it holds one `Item` a line, so that each figure can be looked behind.
Every interval is two-sided, 95 %, and paired: a bootstrap that resamples items (windows for the reference text); for
right-or-wrong metrics with fewer than 20 changed items a closed form from exact binomial limits, because a bootstrap of
so few changes is too narrow (`retain.evaluation.metrics.bootstrap`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from retain.errors import InputError

SCHEMA: Literal["retain.result/1"] = "retain.result/1"
"""Name and major version of the record; raised when a field changes its meaning or goes."""

Interval = tuple[float, float]
Status = Literal["measured", "too few items", "base at chance"]
Verdict = Literal["kept", "lost", "changed format", "too few items to say"]
Learned = Literal["yes", "worse", "not shown", "not measured"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MethodRecord(_Record):
    """How the model was changed: the method's name and the configuration that it was trained with."""

    name: str
    config: dict[str, Any] = Field(default_factory=dict)


class Parameters(_Record):
    """Sizes. `adapter_bytes` is what lies on disk to carry the change (adapter weights, or the full model's)."""

    trainable: int
    total: int
    adapter_bytes: int


class TaskScore(_Record):
    """One metric on held-out task data; `interval` is that of the mean paired change, tuned − base."""

    name: str
    metric: str
    higher_is_better: bool
    n: int
    base: float
    tuned: float
    interval: Interval

    @property
    def gain(self) -> float:
        """The improvement, positive when the tuned model is better, in the metric's own unit."""
        return self.tuned - self.base if self.higher_is_better else self.base - self.tuned


class KeepScore(_Record):
    """One keep suite, paired by item.

    `lost` = P(base right, tuned wrong), `gained` = P(base wrong, tuned right), `p_value` the exact two-sided McNemar
    test of lost against gained; `interval` that of tuned − base; `retention` = (tuned − chance)/(base − chance).
    `lost`, `gained` and `p_value` are null for a metric that is not right-or-wrong. Where `status` is "too few items"
    no score is given; where it is "base at chance" the suite cannot show loss and retention is undefined.
    `detectable_loss` is the smallest net loss that the exact test could call significant on n items.
    """

    name: str
    metric: str
    higher_is_better: bool = True
    n: int
    chance: float
    status: Status
    base: float | None = None
    tuned: float | None = None
    lost: float | None = None
    gained: float | None = None
    p_value: float | None = None
    interval: Interval | None = None
    retention: float | None = None
    retention_interval: Interval | None = None
    detectable_loss: float | None = None
    units: int | None = None
    note: str = ""


class SuiteVerdict(_Record):
    """What may be said of one keep suite, by which metric, and why.

    `p_adjusted` is Holm's over all tests for loss in the report; `tolerance` the largest loss that still counts as
    kept, in the unit of `decided_by`; `items_needed` how many items in all would settle a suite that is undecided;
    `can_show_loss` whether even a destroyed model would be found out on it.
    """

    suite: str
    verdict: Verdict
    reason: str
    decided_by: str
    n: int
    units: int
    tolerance: float
    can_show_loss: bool
    p_value: float | None = None
    p_adjusted: float | None = None
    items_needed: int | None = None


class NullCheck(_Record):
    """The base put to itself: asked again on the very side that is compared with the tuned model.

    `items` were asked twice, of which `changed` got another score; `kl_max_nats` is the largest KL of any reference
    window. Anything but 0 beyond rounding would mean that the two sides were not asked alike.
    """

    items: int
    changed: int
    score_difference_max: float
    kl_max_nats: float | None = None
    passed: bool
    note: str = ""


class Judgement(_Record):
    """The verdict on the whole run; made from the items alone, so that it can be made again without the models.

    `alpha` bounds the probability that a model which lost nothing is called "lost" or "changed format" anywhere in the
    report (Holm over all its tests).
    """

    overall: Verdict
    reason: str
    learned: Learned
    suites: tuple[SuiteVerdict, ...] = ()
    alpha: float = 0.05
    null_check: NullCheck | None = None


class Breakdown(_Record):
    """One metric of one suite on the part of its items that share a condition: a domain, a corruption, a genre."""

    suite: str
    metric: str
    condition: str
    n: int
    base: float
    tuned: float
    interval: Interval | None = None


class Shift(_Record):
    """What tuning cost on one suite of inputs that differ from the usual ones: corrupted pictures, another style.

    "corruption error": `base` and `tuned` are the shares wrong over all corruptions, `value` the mean over kinds of
    errors after / errors before (mCE vs base, 1 for no change), `by_kind` each kind's, null where the base makes no
    error. "style gap": `base` and `tuned` are accuracy on the task `against` minus accuracy on `suite`, `value` is
    tuned − base, above 0 where the gap widened. `interval` is that of `value`; null where too little changed for one.
    """

    suite: str
    measure: Literal["corruption error", "style gap"]
    against: str = ""
    n: int
    units: int
    base: float
    tuned: float
    value: float | None
    interval: Interval | None = None
    by_kind: dict[str, float | None] = Field(default_factory=dict)
    note: str = ""


class ReliabilityBin(_Record):
    """Items of like confidence: mean confidence, share right, number."""

    confidence: float
    accuracy: float
    n: int


class Calibration(_Record):
    """How well one side's probabilities fit its hits on a suite: ECE (15 equal-mass bins), Brier score, NLL (nats).

    `ece_interval` is in older records.
    """

    suite: str
    side: Literal["base", "tuned"]
    n: int
    ece: float
    ece_interval: Interval | None = None
    brier: float
    nll: float
    bins: tuple[ReliabilityBin, ...] = ()


class Conditions(_Record):
    """How one side was asked; equal on both sides in every field. `questions_hash` covers all that was put to it."""

    engine: str
    dtype: str
    attention: str
    device: str
    reader_hash: str
    questions_hash: str


class CurvePoint(_Record):
    """One moment of the training: mean loss since the last point, learning rate; what was watched, or null.

    `kl_nats_per_token` = KL(base ‖ tuned) on a few probe texts; `kl_weight` the anchor's weight; `update_size` the
    update's size in the unit that was limited, after limiting.
    """

    step: int
    loss: float
    learning_rate: float
    kl_nats_per_token: float | None = None
    kl_weight: float | None = None
    update_size: float | None = None


class BudgetRecord(_Record):
    """One limit that was stated, and what control data say of the delivered model.

    `limit`, `observed` and `bound` are in `unit`: points (of 100) or nats per token. `bound` is the upper confidence
    bound on the loss at `confidence`, from `n` independent units of control data that neither training nor calibration
    saw; `kept` whether the limit is certified; `method` the test. `clipped` counts units whose loss was cut off above
    (nats have no largest value). `items_needed`: how many units would certify the limit if rates stayed; null where
    none would, or the limit is kept. `told` says it in a sentence.
    """

    name: str
    limit: float
    unit: Literal["points", "nats"]
    confidence: float
    n: int
    observed: float
    bound: float
    p_value: float
    kept: bool
    method: str
    clipped: int = 0
    items_needed: int | None = None
    told: str = ""


class DialPoint(_Record):
    """One score at one setting of the dial, W0 + α (W_eff − W0); `loss` is positive where it is worse than the base.

    `interval` is the two-sided 95 % interval of `loss`; `bound` and `kept` are there where it has a limit.
    """

    alpha: float
    part: Literal["task", "keep", "reference"]
    name: str
    metric: str
    n: int
    base: float
    tuned: float
    loss: float
    interval: Interval | None = None
    bound: float | None = None
    kept: bool | None = None


class Dial(_Record):
    """The dial: how much of the update is delivered, and what was measured along it, on control data.

    `alpha` is 1 for all that was trained and 0 for the base: then no adapter was delivered. `alphas` are those that
    were to be tried, in the order of the test; `curve` holds those that were. `groups` tells the part of the dial of
    layers whose names match a pattern, where they differ.
    """

    alpha: float
    alphas: tuple[float, ...] = ()
    groups: dict[str, float] = Field(default_factory=dict)
    curve: tuple[DialPoint, ...] = ()
    note: str = ""


class LayerDrift(_Record):
    """How one weight matrix moved: see `Drift` for the measures. Null where it is not defined for this layer.

    `intruders` counts among the top left singular vectors of W_eff those that are like none of W0's;
    `column_leak` is the share of the update outside the column space of W0 (tall layers only).
    """

    name: str
    relative_frobenius: float
    sigma_max: float
    stable_rank: float
    f_delta_keep: float | None = None
    f_delta_learn: float | None = None
    intruders: int | None = None
    column_leak: float | None = None


class HiddenDrift(_Record):
    """How hidden states after one block moved on the same inputs: 1 − CKA is a change of shape, cosine of direction."""

    block: int
    cka: float
    cosine_drift: float
    relative_l2: float


class AmountLayer(_Record):
    """The equivalent amount that a feature-space adapter learned for one layer: |T x|/|x| in the mean, top features."""

    name: str
    amount: float
    share: float
    features: tuple[tuple[int, float], ...] = ()


class Drift(_Record):
    """How far the model moved, on the reference text and in its weights; null where it was not or cannot be measured.

    `kl_nats_per_token` = mean over positions of KL(base ‖ tuned); `ce_drift_nats_per_token` = CE_tuned − CE_base;
    `churn` = P(the most likely next token differs); `update_relative_frobenius` = ‖W_eff − W0‖_F/‖W0‖_F over all
    changed matrices together; `f_delta` = mean ‖ΔW x‖/‖x‖ over changed layers and reference tokens (inputs to keep),
    `f_delta_learn` the same on the task's inputs, `f_delta_ratio` = learn / keep: above 1 where the update acts on the
    task more than on the rest. `kl_task_nats_per_token` is the KL on the task's own inputs and answers. `sigma_max` is
    the largest singular value of any ΔW, `stable_rank` the median of ‖ΔW‖²_F/σ_max², `intruders` how many of
    `intruders_of` top singular vectors are intruder dimensions, `column_leak` the mean over tall layers; `layers`,
    `hidden` and `amounts` (feature-space methods: where the equivalent amount lies) say it layer by layer.
    """

    tokens: int = 0
    ce_base_nats_per_token: float | None = None
    kl_nats_per_token: float | None = None
    kl_interval: Interval | None = None
    ce_drift_nats_per_token: float | None = None
    ce_drift_interval: Interval | None = None
    churn: float | None = None
    churn_interval: Interval | None = None
    kl_task_nats_per_token: float | None = None
    kl_task_interval: Interval | None = None
    update_relative_frobenius: float | None = None
    f_delta: float | None = None
    f_delta_learn: float | None = None
    f_delta_ratio: float | None = None
    sigma_max: float | None = None
    stable_rank: float | None = None
    intruders: int | None = None
    intruders_of: int | None = None
    column_leak: float | None = None
    layers: tuple[LayerDrift, ...] = ()
    hidden: tuple[HiddenDrift, ...] = ()
    amounts: tuple[AmountLayer, ...] = ()
    note: str = ""


class Cost(_Record):
    """What training took on this machine; zeros where nothing was trained here.

    `tokens` counts all tokens read in training but padding, prompts included. `calibration_seconds` is what went before
    it, where the method begins at what texts say: reading or writing them, unless that was done before, and solving.
    `dial_seconds` is what certifying a budget along the dial took.
    """

    train_seconds: float = 0.0
    calibration_seconds: float = 0.0
    steps: int = 0
    step_seconds_median: float = 0.0
    tokens: int = 0
    peak_rss_bytes: int = 0
    measure_seconds: float = 0.0
    dial_seconds: float = 0.0
    final_train_loss: float | None = None


class Provenance(_Record):
    """What made the figures: enough to make them again. `items_hash` is the SHA-256 of `items.jsonl`."""

    command: str
    created: str
    versions: dict[str, str]
    data_hashes: dict[str, str]
    model_hash: str
    items_hash: str = ""
    notes: tuple[str, ...] = ()


class SuiteFacts(_Record):
    """What a suite is, from its own file: enough to find and cite it. `kind` says how it is asked."""

    name: str
    kind: str
    part: Literal["task", "keep"]
    title: str = ""
    version: int = 1
    source: str = ""
    licence: str = ""
    detector_error: str = ""


class Result(_Record):
    """The whole record of one run; see the module's text for the schema's rules.

    `training` holds the recipe's fields that decided the training, beside method, seed and learning rate; it is empty
    for a model that was trained elsewhere. `tolerances` are the losses that still count as kept: as a share, for
    metrics that have a largest value, and in nats per token.
    """

    schema_: Literal["retain.result/1"] = Field(default=SCHEMA, alias="schema")
    model: str
    method: MethodRecord
    seed: int | None
    learning_rate: float | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    parameters: Parameters
    judgement: Judgement | None = None
    tolerances: tuple[float, float] | None = None
    task: tuple[TaskScore, ...] = ()
    keep: tuple[KeepScore, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    shifts: tuple[Shift, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    drift: Drift = Drift()
    budget: tuple[BudgetRecord, ...] = ()
    dial: Dial | None = None
    cost: Cost = Cost()
    curve: tuple[CurvePoint, ...] = ()
    conditions: dict[Literal["base", "tuned"], Conditions] | None = None
    suites: tuple[SuiteFacts, ...] = ()
    provenance: Provenance

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Side(_Record):
    """One model's answer to one item (null where the metric reads no answer) and its scores by metric."""

    answer: str | None = None
    scores: dict[str, float] = Field(default_factory=dict)


class Item(_Record):
    """One question with what both models said to it. `part` tells which table of the result it belongs to.

    Items of one `group` belong together (one article, one picture): the group is the independent unit. `condition`
    names the domain, genre or corruption. Where `withheld` is true the texts are neither stored nor shown (safety).
    """

    part: Literal["task", "keep", "reference"]
    suite: str
    index: int
    group: str | None = None
    condition: str | None = None
    withheld: bool = False
    question: str
    expected: str | None = None
    base: Side
    tuned: Side


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file so that it is there whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all: under a temporary name beside it, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_result(result: Result, path: Path) -> None:
    """Write `result.json`, atomically."""
    write_text(path, result.model_dump_json(by_alias=True, indent=2) + "\n")


def read_result(path: Path) -> Result:
    """Read a `result.json`.

    Raises:
        InputError: the file is missing, is no JSON, or is no record of a schema that this version reads.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text).get("schema")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: no readable result record ({error}).") from error
    if found != SCHEMA:
        raise InputError(f"{path}: record of schema {found!r}; this version of retain reads {SCHEMA!r}.")
    try:
        return Result.model_validate_json(text)
    except ValueError as error:
        raise InputError(f"{path}: damaged result record: {error}") from error


def write_items(items: Iterable[Item], path: Path) -> str:
    """Write `items.jsonl`, atomically, one item a line; return the SHA-256 of the file."""
    text = "".join(item.model_dump_json() + "\n" for item in items)
    write_text(path, text)
    return hashlib.sha256(text.encode()).hexdigest()


def read_items(path: Path) -> Iterator[Item]:
    """Read an `items.jsonl` line by line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Item.model_validate_json(line)
