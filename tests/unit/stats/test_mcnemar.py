"""Lost, gained and the exact test, against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from retain.stats.mcnemar import as_right, counts, detectable_loss, mcnemar_p


def test_counts_by_hand():
    assert counts(np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 0, 1, 0], bool)) == (2, 1)


@pytest.mark.parametrize(
    ("lost", "gained"), [(0, 0), (1, 0), (5, 0), (6, 0), (0, 6), (7, 2), (10, 10), (40, 25), (300, 260)]
)
def test_p_value_against_statsmodels(lost, gained):
    table = [[50, lost], [gained, 30]]
    assert mcnemar_p(lost, gained) == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)


def test_p_value_by_hand():
    assert mcnemar_p(6, 0) == pytest.approx(2 / 64)
    assert mcnemar_p(5, 0) == pytest.approx(2 / 32)
    assert mcnemar_p(0, 0) == 1


def test_six_lost_items_are_the_fewest_that_show():
    assert detectable_loss(24) == 6 / 24
    assert detectable_loss(6) == 1
    assert detectable_loss(5) is None
    assert detectable_loss(0) is None
    assert mcnemar_p(6, 0) < 0.05 <= mcnemar_p(5, 0)


def test_unpaired_answers_are_refused():
    with pytest.raises(ValueError, match="one length"):
        counts(np.ones(3, bool), np.ones(4, bool))


def test_scores_that_are_not_right_or_wrong_are_refused():
    with pytest.raises(ValueError, match="true or false"):
        as_right(np.array([0.0, 0.5]))
    assert as_right(np.array([0.0, 1.0])).tolist() == [False, True]
