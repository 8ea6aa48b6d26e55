"""The budget and the scaled update in a record."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from retain.records.base import Interval, Record
from retain.records.metrics_table import MetricField


class BudgetRecord(Record):
    """One limit of a budget, with the evidence of control data on the delivered model.

    `limit`, `observed` and `bound` are in `unit`: points (of 100) or nats per token. `bound` is the upper confidence
    bound on the loss at `confidence`, from `n` independent units of control data that neither training nor calibration
    saw; `kept` whether the limit is certified; `method` the test. `clipped` counts units whose loss was cut off above
    (nats have no largest value). `items_needed`: how many units would certify the limit if rates stayed; null where
    none would, or the limit is kept. `message` says it in a sentence; `metric` is what was lost, null where that
    is not recorded.
    """

    name: str
    metric: MetricField | None = None
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
    message: str = ""


class ScalingPoint(Record):
    """One score at one interpolation coefficient, W0 + α (W_eff − W0); `loss` is positive where it is worse.

    `interval` is the two-sided 95 % interval of `loss`; `bound` and `kept` are there where it has a limit.
    """

    alpha: float
    part: Literal["task", "keep", "held-out"]
    name: str
    metric: MetricField
    n: int
    base: float
    tuned: float
    loss: float
    interval: Interval | None = None
    bound: float | None = None
    kept: bool | None = None


class Scaling(Record):
    """The update scaling: the part of the update that is delivered, and what control data show along the path.

    `alpha` is 1 for all that was trained and 0 for the base: then no adapter was delivered. `alphas` are those that
    were to be tried, in the order of the test; `curve` holds those that were. `groups` has the share of the coefficient
    for layers whose names match a pattern, where they differ.
    """

    alpha: float
    alphas: tuple[float, ...] = ()
    groups: dict[str, float] = Field(default_factory=dict)
    curve: tuple[ScalingPoint, ...] = ()
    note: str = ""
