"""A metric says its unit, range and direction itself; a record keeps them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from retain.records.metric import Metric, right_or_wrong
from retain.records.metrics_table import CHRF, CROSS_ENTROPY, METRICS, metric_named
from retain.records.numbers import HUNDREDTHS, NATS_PER_TOKEN, OTHER, POINTS
from retain.records.scores import Breakdown


@pytest.mark.parametrize(
    ("name", "unit", "title"),
    [
        ("accuracy", POINTS, "accuracy"),
        ("exact_match", POINTS, "exact match"),
        ("macro_f1", POINTS, "macro-F1"),
        ("matthews", POINTS, "matthews"),
        ("rouge_l", POINTS, "ROUGE-L"),
        ("reciprocal_rank", POINTS, "reciprocal rank"),
        ("churn", POINTS, "churn"),
        ("chrf", HUNDREDTHS, "chrF"),
        ("cross_entropy_nats_per_token", NATS_PER_TOKEN, "cross-entropy"),
        ("kl_nats_per_token", NATS_PER_TOKEN, "KL"),
    ],
)
def test_each_row_of_the_table_has_its_unit_and_title(name, unit, title):
    metric = metric_named(name)
    assert (metric.unit, metric.title) == (unit, title)


def test_every_row_is_named_by_its_metric():
    assert all(row.metric.name == name for name, row in METRICS.items())
    assert metric_named("checklist_accuracy") is None


def test_a_metric_survives_its_record():
    row = Breakdown(suite="s", metric=CHRF, condition="c", n=1, base=1, tuned=2)
    again = Breakdown.model_validate_json(row.model_dump_json())
    assert again == row
    assert again.metric.unit is HUNDREDTHS
    assert '"unit":"points"' in row.model_dump_json()


def test_a_name_stands_for_its_row_and_no_other_does():
    made = Breakdown(suite="s", metric="cross_entropy_nats_per_token", condition="c", n=1, base=1, tuned=2)
    assert made.metric is CROSS_ENTROPY
    with pytest.raises(ValidationError, match="no metric 'cross_entropie' in the table"):
        Breakdown(suite="s", metric="cross_entropie", condition="c", n=1, base=1, tuned=2)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"unit": "percent"}, "unknown unit 'percent'"),
        ({"low": 1.0, "high": 0.0}, "range from 1 to 0 is empty"),
        ({"right_or_wrong": True, "low": 0.0, "high": 100.0}, "from 0 to 1"),
        ({"right_or_wrong": True, "low": 0.0, "high": 1.0, "higher_is_better": False}, "1 is good"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, problem):
    with pytest.raises(ValidationError, match=problem):
        Metric(name="m", **fields)


def test_what_follows_from_the_range():
    assert (CHRF.span, CHRF.worst, CHRF.drifts) == (100, 0, False)
    assert (CROSS_ENTROPY.span, CROSS_ENTROPY.worst, CROSS_ENTROPY.drifts) == (None, None, True)
    error = Metric(name="word_error", low=0, high=1, higher_is_better=False)
    assert (error.span, error.worst, error.title, error.unit) == (1, 1, "word error", OTHER)
    assert right_or_wrong("hit", role="format").role == "format"
