"""Scores and verdicts of a record on suites of what should be gone: how much is left of what the base knew."""

from __future__ import annotations

from typing import Literal

from retain.records.base import Interval, Record
from retain.records.metrics_table import MetricField
from retain.records.scores import CutOff

Forgotten = Literal["gone", "still there", "only refused", "too few items to say"]

DECLINED = "declined"
"""A value of a written answer to an item of such a suite: 1 where it declines to answer, 0 where it does not."""


class Relearned(Record):
    """What is left after a few steps of training on text that does not hold the answers.

    Of `known` items that the base has right `left` are answered right after `steps` steps on `tokens` tokens; `share`
    is what that leaves of what the base knew, `bound` its upper 95 % confidence bound, `old_answer` the probability of
    the old answer.
    """

    steps: int
    tokens: int
    learning_rate: float
    known: int
    left: int
    share: float | None = None
    bound: float | None = None
    old_answer: float | None = None


class GoneScore(Record):
    """One metric on one suite of what should be gone.

    Of `n` items the base has `known` right. Of these the tuned model has `left` right, declines to answer `declined`,
    answers `silent` with nothing and `otherwise` with something else; the last three are null where nothing is written.
    `share` is how much of what the base knew is left, above guessing (`chance`), and `bound` its upper 95 % confidence
    bound, one-sided, in which declining, silence and a cut-off count as left. `old_answer_base` and `old_answer_tuned`
    are the probability of the old answer, as a geometric mean over the items, and `old_answer_change` is the mean
    change of its log-probability in nats with its 95 % interval. `relearned` is what is left after training a little on
    other text.
    """

    name: str
    metric: MetricField
    n: int
    units: int
    chance: float
    base: float
    tuned: float
    known: int
    left: int
    declined: int | None = None
    silent: int | None = None
    otherwise: int | None = None
    share: float | None = None
    bound: float | None = None
    old_answer_base: float | None = None
    old_answer_tuned: float | None = None
    old_answer_change: float | None = None
    old_answer_interval: Interval | None = None
    relearned: Relearned | None = None
    cut_off: CutOff | None = None


class GoneVerdict(Record):
    """The verdict on one suite of what should be gone, the metric that decided it, and the reason.

    `share` is what is left of what the base knew, `bound` its upper confidence bound at the level that the number of
    such suites leaves (Holm), `margin` the largest share that counts as gone. `p_value` is that of "the margin or more
    is left", `p_adjusted` the same by Holm. `has_power` says whether a model that knows nothing would be called gone on
    it, `items_needed` how many items in all would settle it, `base_guesses` whether the base itself did not know.
    """

    suite: str
    verdict: Forgotten
    reason: str
    decided_by: MetricField
    n: int
    known: int
    units: int
    margin: float
    has_power: bool
    share: float | None = None
    bound: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    items_needed: int | None = None
    base_guesses: bool = False
