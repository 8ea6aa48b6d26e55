"""What must hold for any suite, any groups and any p-values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evidence_samples import ACCURACY, EXACT_MATCH, evidence, seeded
from retain.stats.clusters import (
    cluster_changes,
    cluster_interval,
    effective_number,
    graded_p,
    sign_flip_p,
)
from retain.stats.holm import holm
from retain.stats.mcnemar import mcnemar_p
from retain.stats.planning import chance_level_power, items_to_settle
from retain.verdict.verdict import SuiteEvidence, judge, overall

quick = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def grouped(draw):
    """Right and wrong before and after, and the group of each item."""
    n = draw(st.integers(1, 120))
    base, tuned = (draw(arrays.arrays(bool, n)) for _ in range(2))
    return base, tuned, draw(st.lists(st.integers(0, 30), min_size=n, max_size=n))


@st.composite
def reports(draw):
    """Up to six suites, some in groups, some with a written form."""
    suites = []
    for k in range(draw(st.integers(1, 6))):
        base, tuned, groups = draw(grouped())
        together = groups if draw(st.booleans()) else None
        known = evidence(f"s{k}", ACCURACY, base, tuned, 0.25, groups=together)
        form = evidence(f"s{k}", EXACT_MATCH, base & tuned, tuned) if draw(st.booleans()) else None
        suites.append(SuiteEvidence(f"s{k}", known, form))
    return suites


integers = arrays.arrays(np.int64, st.integers(0, 40), elements=st.integers(-12, 12))


@quick
@given(integers)
def test_a_sign_flip_p_is_a_probability_without_sides_or_units(changes):
    p = sign_flip_p(changes)
    assert 0 < p <= 1
    assert sign_flip_p(-changes) == p
    assert sign_flip_p(5 * changes) == p
    assert sign_flip_p(changes[::-1]) == pytest.approx(p, abs=1e-12)
    assert sign_flip_p(np.append(changes, 0)) == p


@quick
@given(arrays.arrays(np.int64, st.integers(1, 14), elements=st.integers(-12, 12)), st.floats(0.001, 1000))
def test_the_graded_test_is_the_same_in_any_unit(changes, unit):
    assert graded_p(unit * changes, seeded()) == pytest.approx(sign_flip_p(changes), abs=1e-12)


@quick
@given(st.integers(0, 60), st.integers(0, 60))
def test_single_items_are_mcnemar(lost, gained):
    assert sign_flip_p(np.repeat([-1, 1], [lost, gained])) == pytest.approx(mcnemar_p(lost, gained), abs=1e-12)


@quick
@given(grouped())
def test_groups_hold_every_item_once(data):
    base, tuned, groups = data
    lost, gained, sizes = cluster_changes(base, tuned, groups)
    assert sizes.sum() == len(base)
    assert (lost + gained <= sizes).all()
    assert gained.sum() - lost.sum() == tuned.sum() - base.sum()
    assert 1 <= effective_number(sizes) <= len(sizes) + 1e-9


@quick
@given(grouped())
def test_the_interval_holds_what_was_seen_and_what_groups_allow(data):
    base, tuned, groups = data
    lost, gained, sizes = cluster_changes(base, tuned, groups)
    low, high = cluster_interval(lost, gained, sizes, seeded())
    assert -1 <= low <= (gained.sum() - lost.sum()) / sizes.sum() <= high <= 1
    if effective_number(gained - lost) < 20:
        # Never narrower than if none of as many equal groups had changed; a tenth is the noise of the draws.
        assert high - low >= 0.9 * 2 * (1 - 0.025 ** (1 / len(sizes))) or (sizes == 1).all()


@quick
@given(grouped(), st.randoms(use_true_random=False))
def test_the_order_of_items_changes_nothing(data, random):
    order = list(range(len(data[0])))
    random.shuffle(order)
    base, tuned, groups = data
    there = evidence("s", ACCURACY, base, tuned, 0.25, groups=groups)
    back = evidence("s", ACCURACY, base[order], tuned[order], 0.25, groups=[groups[k] for k in order])
    assert back.p_value == pytest.approx(there.p_value, abs=1e-12)
    assert back.interval == pytest.approx(there.interval, abs=1e-12)
    assert (back.units, back.lost, back.gained, back.change) == (there.units, there.lost, there.gained, there.change)


@quick
@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_lowers_and_keeps_the_order(p):
    adjusted = holm(p)
    assert all(raw <= after <= 1 for raw, after in zip(p, adjusted, strict=True))
    by_raw = [after for _, after in sorted(zip(p, adjusted, strict=True))]
    assert by_raw == sorted(by_raw)


@quick
@given(st.integers(1, 300), st.data(), st.floats(0, 0.9))
def test_power_is_a_probability_and_grows_with_what_the_base_knows(n, data, chance):
    right = data.draw(st.integers(0, n - 1))
    less, more = (chance_level_power(k, n, chance) for k in (right, right + 1))
    assert 0 <= less <= more + 1e-12 <= 1 + 1e-12


@quick
@given(st.integers(0, 30), st.integers(0, 30), st.integers(60, 400))
def test_a_stricter_plan_needs_no_fewer_items(lost, gained, n):
    needed = [items_to_settle(lost, gained, n, limit, base_right=n) or 10**7 for limit in (0.1, 0.05, 0.02)]
    assert needed == sorted(needed)
    assert needed[0] > n


@quick
@given(reports())
def test_a_verdict_agrees_with_its_own_figures(suites):
    for suite, one in zip(suites, judge(suites), strict=True):
        low, high = suite.knowledge.interval
        assert one.p_adjusted >= one.p_value
        if one.verdict == "lost":
            assert one.p_adjusted < 0.05
            assert high < 0
        if one.verdict == "changed format":
            assert suite.written is not None
            assert suite.written.interval[1] < 0
        if one.verdict == "kept":
            assert low > -one.margin >= -0.05
            assert one.has_power
        if one.items_needed is not None:
            assert one.verdict == "too few items to say"
            assert one.items_needed > one.n


@quick
@given(reports(), reports())
def test_more_suites_make_no_single_alarm_likelier(some, more):
    alone, together = judge(some), judge([*some, *more])[: len(some)]
    for one, other in zip(alone, together, strict=True):
        assert other.p_adjusted >= one.p_adjusted or other.decided_by != one.decided_by
        assert not (other.verdict == "lost" and one.verdict != "lost")
    assert overall(alone)[0] in {one.verdict for one in alone}
