"""A reason's figures are in the unit in which tables show the metric."""

import numpy as np
import pytest

from evidence_samples import ACCURACY, NATS, UNSCALED, evidence
from retain.records import numbers
from retain.records.metrics_table import CHRF, RECIPROCAL_RANK, ROUGE_L
from retain.records.outside_metrics import Seen, outside_metric
from retain.verdict import reasons

HALF, LESS = np.linspace(0.2, 0.8, 40), np.linspace(0.1, 0.7, 40)


def shown(metric, scale=1.0):
    return evidence("s", metric, scale * HALF, scale * LESS)


@pytest.mark.parametrize(
    ("metric", "scale", "text"),
    [
        (ROUGE_L, 1, "improvement −10.0 points"),
        (RECIPROCAL_RANK, 1, "improvement −10.0 points"),
        (CHRF, 100, "improvement −10.0 points"),
        (outside_metric("mrr", Seen(0.2, 0.8)), 1, "improvement −10.0 points"),
        (outside_metric("em", Seen(20, 80)), 100, "improvement −10.0 points"),
        (outside_metric("checklist_accuracy", Seen(0.2, 0.8)), 1, "improvement −0.1 in checklist accuracy"),
        (UNSCALED, 1, "improvement +0.1 in ter"),
        (NATS, 1, "improvement +0.1 nats per token"),
    ],
)
def test_the_change_is_said_in_the_unit_of_the_table(metric, scale, text):
    found = shown(metric, scale)
    assert reasons.change(found).startswith(text)
    table = numbers.signed(found.change, metric.unit).lstrip("+−")
    assert float(table) == pytest.approx(float(text.split()[1].lstrip("+−")))


def test_right_and_wrong_are_counted():
    base, tuned = np.repeat([1, 1], [30, 10]), np.repeat([1, 0], [30, 10])
    text = reasons.lost(evidence("s", ACCURACY, base, tuned), 0.002, tests=3)
    assert text.startswith("change −25.0 points, 95% interval")
    assert "10 of 40 lost and 0 gained" in text
    assert "p = 0.002 after allowing for 3 tests" in text


def test_nothing_changed_is_plus_nothing():
    same = evidence("s", ACCURACY, np.ones(40), np.ones(40))
    assert reasons.change(same).startswith("change +0.0 points, 95% interval −8.8 to +8.8")
    drift = evidence("s", NATS, HALF, HALF)
    assert reasons.change(drift) == "improvement +0 nats per token, 95% interval +0 to +0"


def test_a_range_that_is_not_known_is_said():
    text = reasons.undecided(shown(UNSCALED), 0.05, 0.05, 1, None, shows=False, changed=False)
    assert text == "the range of ter is not known, so no loss can be called small."
