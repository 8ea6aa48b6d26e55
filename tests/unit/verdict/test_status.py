"""What a suite can show at all."""

import numpy as np
import pytest

from evidence_samples import ACCURACY, NATS, UNSCALED, evidence
from retain.records.metrics_table import CHRF
from retain.verdict.status import MINIMUM_ITEMS, base_guesses, shows_loss, status_of


def right(k, n, chance=0.25, **fields):
    base = np.arange(n) < k
    return evidence("s", ACCURACY, base, base, chance, **fields)


@pytest.mark.parametrize(("k", "n", "status"), [(5, 5, "too few items"), (23, 23, "too few items"),
                                                (24, 24, "measured"), (12, 40, "base at chance")])  # fmt: skip
def test_a_status_and_its_note(k, n, status):
    found, note = status_of(right(k, n))
    assert found == status
    assert bool(note) == (status != "measured")


def test_groups_count_as_units_for_both():
    """Forty groups of five, all right or wrong together: as a suite of forty items."""
    groups = [k // 5 for k in range(200)]
    for k, guesses in ((12, True), (30, False)):
        grouped, alone = right(5 * k, 200, groups=groups), right(k, 40)
        assert base_guesses(grouped) == base_guesses(alone) == guesses
        assert status_of(grouped)[0] == status_of(alone)[0]
    assert status_of(right(100, 100, groups=[k // 5 for k in range(100)]))[0] == "too few items"
    assert MINIMUM_ITEMS == 24


def test_a_metric_with_degrees_guesses_where_it_has_nothing_to_lose():
    zero, some = np.zeros(40), np.linspace(1, 50, 40)
    assert base_guesses(evidence("s", CHRF, zero, zero))
    assert not base_guesses(evidence("s", CHRF, some, some))
    assert not base_guesses(evidence("s", NATS, zero, zero))
    assert status_of(evidence("s", CHRF, zero, zero)) == ("measured", "")


def test_power_needs_units_that_can_fall():
    some = np.linspace(1, 50, 40)
    assert shows_loss(evidence("s", CHRF, some, some), 0.05)
    assert not shows_loss(evidence("s", CHRF, some[:5], some[:5]), 0.05)
    assert not shows_loss(evidence("s", UNSCALED, some, some), 0.05)
    assert shows_loss(right(90, 100), 0.05)
    assert not shows_loss(right(30, 100), 0.05)
