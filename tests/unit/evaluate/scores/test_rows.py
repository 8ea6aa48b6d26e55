"""From item-level arrays to the records: figures, status rules, notes."""

from __future__ import annotations

import numpy as np
import pytest

from evidence_samples import ACCURACY, EXACT_MATCH, column, evidence
from retain.errors import InputError
from retain.evaluate.scores.rows import breakdown_row, keep_row, task_row
from retain.records.metrics_table import CHRF, CROSS_ENTROPY
from retain.stats.mcnemar import detectable_loss
from retain.verdict.status import MINIMUM_ITEMS


def first(k, n):
    return np.arange(n) < k


def kept(name, base, tuned, chance, **fields):
    return keep_row(column(name, ACCURACY, base, tuned, chance, **fields), seed=0)[1]


def test_a_measured_suite():
    # 40 items, chance ¼. Base right on 30; of these 8 lost; of the other 10, 2 gained.
    base = first(30, 40)
    tuned = base.copy()
    tuned[:8] = False
    tuned[30:32] = True
    score = kept("capitals", base, tuned, 0.25)
    assert score.status == "measured"
    assert (score.n, score.base, score.tuned) == (40, 0.75, 0.6)
    assert (score.lost, score.gained) == (0.2, 0.05)
    assert score.p_value == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert score.retention == pytest.approx(0.35 / 0.5)
    assert score.detectable_loss == 6 / 40
    assert score.interval[0] < -0.15 < score.interval[1]
    assert score.retention_interval[0] < 0.7 < score.retention_interval[1]
    assert score.note == ""


@pytest.mark.parametrize("n", [1, 5, 6, 23])
def test_too_few_items_get_no_score(n):
    score = kept("small", first(n, n), first(0, n), 0.25)
    assert score.status == "too few items"
    assert {score.base, score.tuned, score.lost, score.gained, score.p_value, score.interval, score.retention} == {None}
    assert score.retention_interval is None
    assert score.detectable_loss == detectable_loss(n)
    assert "at least 24" in score.note


def test_24_items_are_the_fewest():
    assert kept("s", first(24, 24), first(24, 24), 0.25).status == "measured"
    assert detectable_loss(MINIMUM_ITEMS) <= 0.25 < detectable_loss(MINIMUM_ITEMS - 1)


def test_a_base_at_chance_cannot_show_loss():
    score = kept("hard", first(12, 40), first(2, 40), 0.25)
    assert score.status == "base at chance"
    assert (score.base, score.tuned, score.lost, score.gained) == (0.3, 0.05, 0.25, 0.0)
    assert score.interval is not None
    assert score.retention is score.retention_interval is None
    assert "12 of 40" in score.note
    assert "cannot show loss" in score.note


def test_a_base_near_chance_has_retention_without_interval():
    score = kept("near", first(16, 40), first(16, 40), 0.25)  # P(X ≥ 16) = .026; limits from .249
    assert score.status == "measured"
    assert score.retention == 1
    assert score.retention_interval is None
    assert "too near to chance" in score.note


def test_an_empty_or_impossible_suite_is_refused():
    with pytest.raises(InputError, match="no items"):
        kept("empty", np.zeros(0, bool), np.zeros(0, bool), 0.25)
    with pytest.raises(ValueError, match="chance"):
        kept("sure", first(3, 30), first(3, 30), 1.0)
    with pytest.raises(ValueError, match="one length"):
        kept("s", first(3, 30), first(3, 29), 0.25)


def test_a_cross_entropy_is_averaged_over_tokens():
    # Items of 1 and 3 tokens: (2·1 + 4·3)/4 = 3.5, then (1·1 + 3·3)/4 = 2.5.
    score = task_row(evidence("headlines", CROSS_ENTROPY, [2.0, 4.0], [1.0, 3.0], weights=[1, 3]))
    assert (score.n, score.base, score.tuned, score.gain) == (2, 3.5, 2.5, 1.0)
    assert score.interval == (-1, -1)


def test_a_right_or_wrong_task_metric_gets_the_interval_of_its_kind():
    base, tuned = first(5, 40).astype(float), first(12, 40).astype(float)
    score = task_row(evidence("qa", EXACT_MATCH, base, tuned))
    assert (score.base, score.tuned) == (0.125, 0.3)
    assert score.interval == kept("qa", base, tuned, 0.0).interval


def test_a_tiny_task_is_refused():
    with pytest.raises(InputError, match="at least two"):
        task_row(evidence("t", CROSS_ENTROPY, [0.1], [0.1]))
    with pytest.raises(InputError, match="at least two"):
        task_row(evidence("t", ACCURACY, [1.0], [1.0]))
    with pytest.raises(InputError, match="at least two"):
        task_row(evidence("t", CROSS_ENTROPY, [0.1, 0.2], [0.1, 0.3], groups=["one", "one"]))


def test_a_row_is_a_view_of_its_evidence():
    """The same change, interval, p and counts as the verdict rests on, whatever the seed."""
    base, tuned = first(60, 100), np.arange(100) % 3 == 0
    for seed in (0, 1):
        found, score = keep_row(column("s", ACCURACY, base, tuned, 0.25), seed)
        assert (score.interval, score.p_value) == (found.interval, found.p_value)
        assert (score.lost, score.gained, score.units) == (found.lost / 100, found.gained / 100, found.groups)
        assert task_row(found).interval == breakdown_row(column("s", ACCURACY, base, tuned), "c", seed).interval


def test_grouped_items_have_a_retention_and_as_many_units_as_groups():
    base = np.repeat(first(40, 60), 5)
    score = kept("s", base, base, 0.25, groups=[k // 5 for k in range(300)])
    assert (score.n, score.units, score.status, score.retention) == (300, 60, "measured", 1)
    assert score.retention_interval[0] < 1 < score.retention_interval[1]


def test_a_metric_with_degrees_has_neither_counts_nor_retention():
    values = np.linspace(10, 60, 40)
    found, score = keep_row(column("s", CHRF, values, values - 1), seed=0)
    assert (score.lost, score.gained, score.retention, score.detectable_loss) == (None,) * 4
    assert (score.status, score.chance, score.interval) == ("measured", 0.0, found.interval)
    small = keep_row(column("s", CHRF, values[:5], values[:5]), seed=0)[1]
    assert (small.status, small.base, small.interval) == ("too few items", None, None)
