"""What training changed and what a conversion changed, on the same items: base, tuned model, converted model."""

from __future__ import annotations

from typing import Literal

from retain.records.base import Interval, Record
from retain.records.metrics_table import MetricField


class Step(Record):
    """The mean paired change of one step with its 95 % interval, and the two-sided p of the exact test."""

    change: float
    interval: Interval | None = None
    p_value: float = 1.0


class ConversionScore(Record):
    """One metric of one suite on all three sides.

    `training` goes from the base to the tuned model, `conversion` from there to what was made of it, `total` from the
    base to that: change for change the sum of the two, since all three are means over the same items.
    """

    part: Literal["task", "keep", "gone", "held-out"]
    name: str
    metric: MetricField
    n: int
    base: float
    tuned: float
    converted: float
    training: Step
    conversion: Step
    total: Step


class Conversion(Record):
    """A model that was made of the tuned one: `source` names it, `what` says of what kind it is."""

    source: str
    what: str
    scores: tuple[ConversionScore, ...] = ()
