"""Verdicts of a record: each suite's, the run's, and the A/A check."""

from __future__ import annotations

from typing import Literal

from retain.records.base import Record
from retain.records.gone_record import Forgotten, GoneVerdict
from retain.records.metrics_table import MetricField

Verdict = Literal["kept", "lost", "changed format", "too few items to say"]
Learned = Literal["yes", "worse", "no noticeable change", "not shown", "not measured"]


class SuiteVerdict(Record):
    """The verdict on one retention suite, the metric that decided it, and the reason.

    `p_adjusted` is Holm's over all tests for loss in the report; `margin` the largest loss that still counts as
    kept, in the unit of `decided_by`; `items_needed` how many items in all would settle a suite that is undecided;
    `has_power` whether a chance-level model would be called lost on it; `base_guesses` whether the base itself is no
    better than one, so that there was nothing to lose.
    """

    suite: str
    verdict: Verdict
    reason: str
    decided_by: MetricField
    n: int
    units: int
    margin: float
    has_power: bool
    p_value: float | None = None
    p_adjusted: float | None = None
    items_needed: int | None = None
    base_guesses: bool = False


class AACheck(Record):
    """The A/A check: the base compared with itself, on the very side that is compared with the tuned model.

    `items` were answered twice, of which `changed` got another score; `kl_max_nats` is the largest KL of any held-out
    window. Anything but 0 beyond rounding would mean that the two sides were not measured alike.
    """

    items: int
    changed: int
    score_difference_max: float
    kl_max_nats: float | None = None
    passed: bool
    note: str = ""


class Judgement(Record):
    """The verdict on the run; made from the items alone, so that it can be made again without the models.

    `alpha` bounds the probability that a model which lost nothing is called "lost" or "changed format" anywhere in the
    report (Holm over all its tests). `forgot` is the verdict on all suites of what should be gone, the worst of `gone`;
    it is null where there is none.
    """

    overall: Verdict
    reason: str
    learned: Learned
    suites: tuple[SuiteVerdict, ...] = ()
    gone: tuple[GoneVerdict, ...] = ()
    forgot: Forgotten | None = None
    forgot_reason: str = ""
    alpha: float = 0.05
    aa_check: AACheck | None = None
