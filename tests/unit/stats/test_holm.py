"""Holm's adjustment."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from retain.stats.holm import holm


def test_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_it_is_that_of_statsmodels():
    p = np.random.default_rng(0).random(30) ** 3
    assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist())


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([0.5, value])
