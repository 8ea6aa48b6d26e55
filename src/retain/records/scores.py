"""Scores of a record: what was learned, what was kept, scores by condition, under shift, and their calibration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from retain.records.base import Interval, Record
from retain.records.metrics_table import MetricField

Status = Literal["measured", "too few items", "base at chance", "answers cut off"]


class CutOff(Record):
    """Written answers that the longest length ended, and not the model.

    Of `written` answers of each side `base` and `tuned` were cut off; `base_unknown` and `tuned_unknown` of these are
    not right as far as they go (for a metric with degrees: have nothing yet), so that their score is not known. `limit`
    is the length in tokens; `option` where it is set.
    """

    written: int
    base: int = 0
    tuned: int = 0
    base_unknown: int = 0
    tuned_unknown: int = 0
    limit: int | None = None
    option: str = ""

    @property
    def mostly(self) -> bool:
        """True where the score of most answers of a side is not known, because they were cut off."""
        return 2 * max(self.base_unknown, self.tuned_unknown) > self.written

    @property
    def sentence(self) -> str:
        """How many were cut off, and what to raise."""
        length = "the longest length" if self.limit is None else f"{self.limit} tokens"
        sides = f"{self.base} of the base's and {self.tuned} of the tuned model's {self.written} written answers"
        return f"{sides} were cut off at {length}; raise {self.option or 'the limit of written answers'}."


class TaskScore(Record):
    """One metric on held-out task data; `interval` is that of the mean paired change, tuned − base.

    `smallest_effect` is the smallest change that anyone would notice, in the metric's own unit: below it a change is no
    noticeable one. Records that state none were judged without.
    """

    name: str
    metric: MetricField
    n: int
    base: float
    tuned: float
    interval: Interval
    smallest_effect: float = 0.0
    cut_off: CutOff | None = None

    @property
    def gain(self) -> float:
        """The improvement, positive when the tuned model is better, in the metric's own unit."""
        return self.tuned - self.base if self.metric.higher_is_better else self.base - self.tuned


class KeepScore(Record):
    """One retention suite, paired by item.

    `lost` = P(base right, tuned wrong), `gained` = P(base wrong, tuned right), `p_value` the exact two-sided McNemar
    test of lost against gained; `interval` that of tuned − base; `retention` = (tuned − chance)/(base − chance).
    `lost`, `gained` and `p_value` are null for a metric that is not right-or-wrong. Where `status` is "too few items"
    no score is given; where it is "base at chance" the suite cannot show loss and retention is undefined; where it is
    "answers cut off" most answers of a side were, so that what they would have said is not known. `cut_off` counts
    them, for metrics of written answers.
    `detectable_loss` is the smallest net loss that the exact test could call significant on n items.
    """

    name: str
    metric: MetricField
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
    cut_off: CutOff | None = None
    note: str = ""


class Breakdown(Record):
    """One metric of one suite on the part of its items that share a condition: a domain, a corruption."""

    suite: str
    metric: MetricField
    condition: str
    n: int
    base: float
    tuned: float
    interval: Interval | None = None


class Shift(Record):
    """The cost of tuning on one suite of inputs that differ from the usual ones: corrupted images, another style.

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


class ReliabilityBin(Record):
    """Items of like confidence: mean confidence, share right, number."""

    confidence: float
    accuracy: float
    n: int


class CalibrationScore(Record):
    """The calibration of one side's probabilities on a suite: ECE (15 equal-mass bins), Brier score, NLL (nats)."""

    suite: str
    side: Literal["base", "tuned"]
    n: int
    ece: float
    brier: float
    nll: float
    bins: tuple[ReliabilityBin, ...] = ()
