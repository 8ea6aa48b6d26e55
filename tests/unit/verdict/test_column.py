"""A column holds paired values within its metric's range, and nothing else."""

import numpy as np
import pytest

from evidence_samples import ACCURACY, NATS, UNSCALED, column
from retain.errors import InputError, RetainError
from retain.records.items import Item, Side
from retain.records.metrics_table import CHRF, CROSS_ENTROPY
from retain.verdict.column import column_of_items, scored_by


def item(k, base, tuned, **fields):
    return Item(
        part="keep", suite="s", index=k, question="", base=Side(scores=base), tuned=Side(scores=tuned), **fields
    )


def test_items_without_the_metric_on_both_sides_are_left_out():
    items = [item(0, {"chrf": 10.0}, {"chrf": 20.0}), item(1, {"chrf": 10.0}, {}), item(2, {}, {"chrf": 3.0})]
    found = column_of_items("s", CHRF, items)
    assert (found.base.tolist(), found.tuned.tolist(), found.weights, found.groups) == ([10], [20], None, None)
    assert scored_by(items, CHRF) == items[:1]


def test_weights_are_those_that_the_metric_names():
    name = CROSS_ENTROPY.name
    items = [item(k, {name: 2.0, "tokens": 3.0 + k}, {name: 1.0}) for k in range(2)]
    assert column_of_items("s", CROSS_ENTROPY, items).weights.tolist() == [3, 4]
    unweighed = [item(0, {name: 2.0}, {name: 1.0})]
    assert column_of_items("s", CROSS_ENTROPY, unweighed).weights.tolist() == [1]


def test_groups_are_kept_where_two_items_share_one():
    items = [item(k, {"accuracy": 1.0}, {"accuracy": 0.0}, group=group) for k, group in enumerate(["a", "a", None])]
    assert column_of_items("s", ACCURACY, items, 0.25).groups == ["group a", "group a", "item 2"]
    assert column_of_items("s", ACCURACY, items[1:], 0.25).groups is None


@pytest.mark.parametrize(
    ("metric", "base", "problem"),
    [
        (ACCURACY, [0.5], "0 and 1"),
        (ACCURACY, [2.0], "0 and 1"),
        (CHRF, [101.0], "from 0, to 100"),
        (CHRF, [-1.0], "from 0, to 100"),
        (NATS, [-0.1], "from 0, no largest value"),
    ],
)
def test_values_outside_the_declared_range_are_refused(metric, base, problem):
    with pytest.raises(InputError, match=problem):
        column("s", metric, base, base)


def test_rounding_is_not_outside():
    assert column("s", CHRF, [100 + 1e-10], [0.0]).base[0] > 100
    assert column("s", UNSCALED, [-1e9], [1e9]).share.tolist() == [1]


def test_what_is_broken_empty_or_unpaired_is_refused():
    with pytest.raises(RetainError, match="tuned model is not finite on item 2"):
        column("t", NATS, [0.1, 0.2], [0.1, np.nan])
    with pytest.raises(InputError, match="holds no items"):
        column("s", ACCURACY, [], [])
    with pytest.raises(InputError, match="holds no items"):
        column_of_items("s", ACCURACY, [])
    with pytest.raises(ValueError, match="one length"):
        column("s", NATS, [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="one length"):
        column("s", NATS, [1.0], [1.0], weights=[1, 2])
    with pytest.raises(ValueError, match="chance"):
        column("s", ACCURACY, [1.0], [1.0], 1.0)
