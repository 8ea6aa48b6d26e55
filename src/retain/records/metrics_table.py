"""The table of metrics: one row each, the only place that names them.

A metric that scores a written answer against the expected one is added by one file with that function in
`retain.evaluate.scores` and one row here, which names the function; every completion is then scored by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

from retain.records.metric import Metric, right_or_wrong

ACCURACY = right_or_wrong("accuracy")
TOP_1 = right_or_wrong("top_1")
CONTAINS = right_or_wrong("contains", "right answer in the text", role="format")
EXACT_MATCH = right_or_wrong("exact_match", role="format")
REFUSED = right_or_wrong("refused", "requests refused")
ANSWERED = right_or_wrong("answered", "requests answered")
RECIPROCAL_RANK = Metric(name="reciprocal_rank", unit="share", low=0.0, high=1.0)
CHRF = Metric(name="chrf", title="chrF", unit="points", low=0.0, high=100.0)
ROUGE_L = Metric(name="rouge_l", title="ROUGE-L", unit="share", low=0.0, high=1.0)
CROSS_ENTROPY = Metric(
    name="cross_entropy_nats_per_token",
    title="cross-entropy",
    unit="nats per token",
    low=0.0,
    higher_is_better=False,
    weight="tokens",
)
KL_DIVERGENCE = Metric(
    name="kl_nats_per_token", title="KL", unit="nats per token", low=0.0, higher_is_better=False, weight="tokens"
)
OLD_ANSWER = Metric(name="old_answer_nats", title="old answer", unit="nats", low=0.0, higher_is_better=False)
CHURN = Metric(name="churn", unit="share", low=0.0, high=1.0, higher_is_better=False, weight="tokens")
UNREAD = "context_free_nats_per_token"
"""A value of an item beside its cross-entropy: that of a model that always predicts the same, whatever went before."""
MACRO_F1 = Metric(name="macro_f1", title="macro-F1", unit="share", low=0.0, high=1.0, level="set")
MATTHEWS = Metric(name="matthews", unit="share", low=-1.0, high=1.0, level="set")


@dataclass(frozen=True)
class Row:
    """A metric, and how it comes about.

    Attributes:
        metric: the metric.
        of_answer: the function (answer, expected) → value that scores a written answer by it: "module:function".
        written: true where it rests on a written answer, by such a function or otherwise.
    """

    metric: Metric
    of_answer: str = ""
    written: bool = False


METRICS: dict[str, Row] = {
    row.metric.name: row
    for row in (
        Row(ACCURACY),
        Row(TOP_1),
        Row(RECIPROCAL_RANK),
        Row(CONTAINS, written=True),
        Row(REFUSED, written=True),
        Row(ANSWERED, written=True),
        Row(CROSS_ENTROPY),
        Row(OLD_ANSWER),
        Row(KL_DIVERGENCE),
        Row(CHURN),
        Row(MACRO_F1),
        Row(MATTHEWS),
        Row(CHRF, "retain.evaluate.scores.text:chrf"),
        Row(ROUGE_L, "retain.evaluate.scores.text:rouge_l"),
        Row(EXACT_MATCH, "retain.evaluate.scores.text:exact_match"),
    )
}


def metrics_of_answers() -> Iterator[Row]:
    """The rows of metrics that score a written answer, in the table's order."""
    return (row for row in METRICS.values() if row.of_answer)


def rests_on_writing(metric: Metric) -> bool:
    """True for a metric of written answers, which a limit of their length can cut off."""
    row = METRICS.get(metric.name)
    return row is not None and (row.written or bool(row.of_answer))


def metric_named(name: str) -> Metric | None:
    """The metric of a name; None where the table has none."""
    row = METRICS.get(name)
    return None if row is None else row.metric


def _named(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in METRICS:
        raise ValueError(f"no metric {value!r} in the table; give a Metric, or one of {', '.join(METRICS)}.")
    return METRICS[value].metric


MetricField = Annotated[Metric, BeforeValidator(_named)]
"""A record's metric; a name in the table stands for its row."""
