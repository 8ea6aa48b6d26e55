"""The rules of the verdict, one by one, on figures made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retain.errors import InputError
from retain.stats.bootstrap import change_interval, ratio_intervals
from retain.stats.clusters import graded_p
from retain.stats.mcnemar import mcnemar_p
from retain.verdict.evidence import Evidence, graded, right_or_wrong
from retain.verdict.verdict import (
    JudgedTask,
    Suite,
    base_guesses,
    judge,
    judge_tasks,
    learned,
    overall,
    shows_loss,
    tolerated,
)


def seeded(seed=0):
    return np.random.default_rng(seed)


def answers(both, lost, gained, neither):
    base = np.repeat([1, 1, 0, 0], [both, lost, gained, neither]).astype(bool)
    return base, np.repeat([1, 0, 1, 0], [both, lost, gained, neither]).astype(bool)


def suite(name, cells, chance=0.25, written=None, groups=None):
    known = right_or_wrong(name, "accuracy", *answers(*cells), chance, seeded(), groups=groups)
    form = right_or_wrong(name, "strict", *answers(*written), 0.0, seeded()) if written else None
    return Suite(name, known, form)


def windows(name, shift, n=40, noise=0.01):
    nll = seeded(3).normal(3, 0.3, n)
    moved = nll + shift + noise * np.tile([1, -1], n)[:n]
    tokens = seeded(4).integers(100, 257, n)
    return graded(name, "nats_per_token", nll, moved, seeded(), higher_is_better=False, weights=tokens)


KEPT = (200, 2, 2, 46)


def test_evidence_of_right_and_wrong():
    found = suite("s", (60, 12, 3, 25)).knowledge
    assert (found.n, found.units, found.lost, found.gained) == (100, 100, 12, 3)
    assert (found.base, found.change) == pytest.approx((0.72, -0.09))
    assert found.p_value == mcnemar_p(12, 3)
    base, tuned = answers(60, 12, 3, 25)
    assert found.interval == change_interval(base, tuned, seeded())


def test_evidence_turns_what_is_better_when_less():
    nll, tokens = seeded(1).normal(3, 0.3, 30), seeded(2).integers(50, 257, 30)
    moved = nll + seeded(3).normal(0.1, 0.05, 30)
    found = graded("s", "nats", nll, moved, seeded(), higher_is_better=False, weights=tokens)
    d = tokens * (nll - moved)
    assert found.change == pytest.approx(d.sum() / tokens.sum())
    assert found.change < 0
    assert found.p_value == pytest.approx(graded_p(d, seeded()), abs=1e-4)
    assert found.interval == pytest.approx(ratio_intervals([d], tokens, seeded(1))[0], abs=0.005)


def test_one_unit_has_no_interval():
    one = graded("s", "nats", np.array([3.0]), np.array([3.5]), seeded(), higher_is_better=False)
    assert one.interval is None
    (found,) = judge([Suite("s", one)])
    assert found.verdict == "too few items to say"
    assert "too few to show any loss" in found.reason


def test_evidence_of_nothing_is_refused():
    none = np.array([])
    with pytest.raises(InputError, match="holds no items"):
        right_or_wrong("s", "accuracy", none, none, 0.25, seeded())
    with pytest.raises(InputError, match="holds no items"):
        graded("s", "nats", none, none, seeded(), higher_is_better=False)
    with pytest.raises(ValueError, match="one length"):
        graded("s", "nats", np.ones(3), np.ones(2), seeded(), higher_is_better=False)
    with pytest.raises(ValueError, match="chance"):
        right_or_wrong("s", "accuracy", np.ones(3), np.ones(3), 1.0, seeded())


def test_lost():
    (found,) = judge([suite("s", (60, 25, 3, 12))])
    assert found.verdict == "lost"
    assert found.p_adjusted == found.p_value == mcnemar_p(25, 3)
    assert "25 of 100 lost and 3 gained" in found.reason
    assert "-22.0 points" in found.reason


def test_more_suites_ask_for_more():
    """9 lost and 1 gained: p = .0215, which one test in one calls lost, and one test in three does not."""
    doubtful = suite("s", (60, 9, 1, 30))
    assert judge([doubtful])[0].verdict == "lost"
    found = judge([doubtful, suite("a", KEPT), suite("b", KEPT)])
    assert [one.verdict for one in found] == ["too few items to say", "kept", "kept"]
    assert found[0].p_adjusted == pytest.approx(3 * mcnemar_p(9, 1))


def test_tests_of_format_count_as_tests():
    found = judge([suite("s", (60, 9, 1, 30)), suite("a", KEPT, written=KEPT)])
    assert found[0].p_adjusted == pytest.approx(3 * mcnemar_p(9, 1))


def test_test_and_interval_must_agree():
    known = replace(suite("s", (60, 25, 3, 12)).knowledge, interval=(-0.3, 0.01))
    assert judge([Suite("s", known)])[0].verdict == "too few items to say"


def test_a_significant_gain_is_kept():
    (found,) = judge([suite("s", (100, 1, 30, 20))])
    assert found.p_adjusted < 0.05
    assert found.verdict == "kept"


def test_changed_format():
    (found,) = judge([suite("s", KEPT, chance=0.0, written=(120, 70, 2, 58))])
    assert (found.verdict, found.decided_by) == ("changed format", "strict")
    assert "70 of 250 lost and 2 gained" in found.reason


def test_lost_knowledge_is_more_than_lost_form():
    (found,) = judge([suite("s", (60, 60, 3, 27), chance=0.0, written=(60, 60, 3, 27))])
    assert (found.verdict, found.decided_by) == ("lost", "accuracy")


def test_lost_form_without_power_over_knowledge_is_not_changed_format():
    (found,) = judge([suite("s", (4, 0, 0, 96), chance=0.0, written=(20, 40, 2, 38))])
    assert found.verdict == "too few items to say"
    assert "how it writes the answer did change" in found.reason


def test_kept_needs_the_interval():
    wide, narrow = suite("s", (100, 15, 15, 20)), suite("s", KEPT)
    assert [judge([one])[0].verdict for one in (wide, narrow)] == ["too few items to say", "kept"]
    (found,) = judge([wide])
    assert "cannot be ruled out" in found.reason
    assert f"about {found.items_needed:,} items in all" in found.reason


def test_kept_needs_power():
    small = suite("s", (14, 0, 0, 1))
    assert judge([small])[0].verdict == "too few items to say"
    tolerant = Suite("s", replace(small.knowledge, margin=0.5, interval=(-0.01, 0.01)))
    assert judge([tolerant])[0].verdict == "kept"
    alone, among = judge([tolerant])[0], judge([tolerant, *[suite("a", KEPT)] * 500])[0]
    assert (alone.has_power, among.has_power) == (True, False)
    assert among.verdict == "too few items to say"
    assert "even a chance-level model" in among.reason


@pytest.mark.parametrize("cells", [(60, 40, 40, 260), (0, 100, 0, 300), (100, 0, 0, 300), (100, 0, 300, 0)])
def test_a_base_that_guesses_says_nothing(cells):
    known = suite("s", cells)
    (found,) = judge([known])
    assert base_guesses(known.knowledge)
    assert found.verdict == "too few items to say"
    assert found.items_needed is None
    assert "the base itself guesses (100 of 400 right, 25% by guessing)" in found.reason


def test_half_of_what_there_was_is_the_most_that_may_go():
    assert tolerated(suite("s", KEPT).knowledge) == 0.05
    near = suite("s", (1450, 0, 0, 3550)).knowledge  # 29 % right, 25 % by guessing
    assert tolerated(near) == pytest.approx(0.02)
    assert tolerated(windows("s", 0)) == 0.05


def test_groups_stand_for_one():
    cells = (120, 4, 4, 22)
    alone, grouped = (suite("s", cells, groups=g) for g in (None, [k // 10 for k in range(150)]))
    assert (alone.knowledge.units, grouped.knowledge.units) == (150, 15)
    assert judge([alone])[0].verdict == "kept"
    assert judge([grouped])[0].verdict == "too few items to say"


def test_language():
    found = judge([Suite("prose", windows("prose", 0.0)), Suite("code", windows("code", 0.2))])
    assert [one.verdict for one in found] == ["kept", "lost"]
    assert "0.05 in nats per token can be ruled out" in found[0].reason
    assert judge([Suite("few", windows("few", 0.5, n=4))])[0].verdict == "too few items to say"


def test_a_small_drift_in_nats_is_kept_though_it_is_seen_and_a_small_loss_of_items_is_not():
    (drift,) = judge([Suite("s", windows("s", 0.02))])
    assert drift.p_adjusted < 0.05
    assert drift.verdict == "kept"
    (few,) = judge([suite("s", (1900, 10, 0, 90))])
    assert few.p_adjusted < 0.05
    assert few.verdict == "lost"


def test_a_metric_with_degrees_that_scores_nothing_cannot_fall():
    zero = np.zeros(40)
    known = graded("s", "chrf", zero, zero, seeded(), higher_is_better=True, worst=0, largest=100, margin=5)
    assert judge([Suite("s", known)])[0].verdict == "too few items to say"
    half = np.repeat([0.0, 90.0], [38, 2])
    known = graded("s", "chrf", half, half, seeded(), higher_is_better=True, worst=0, largest=100, margin=5)
    assert known.can_fall == 2
    assert not shows_loss(known, 0.05)


def test_overall_is_the_worst_found():
    lost, form = suite("l", (60, 25, 3, 12)), suite("f", KEPT, chance=0.0, written=(120, 70, 2, 58))
    few, kept = suite("t", (14, 0, 0, 1)), suite("k", KEPT)
    assert overall(judge([lost, form, few, kept])) == ("lost", "Lost on l (1 of 4).")
    assert overall(judge([form, few, kept]))[0] == "changed format"
    assert overall(judge([few, kept])) == (
        "too few items to say",
        "No loss was found, but it cannot be ruled out on t (1 of 2).",
    )
    assert overall(judge([kept, kept])) == ("kept", "Kept on k, k (2 of 2).")
    assert overall([])[0] == "too few items to say"
    assert judge([]) == []


def test_what_was_learned():
    better, worse, same = (suite("t", cells).knowledge for cells in ((20, 1, 40, 39), (20, 40, 1, 39), KEPT))
    found = judge_tasks([better, worse, same])
    assert [one.learned for one in found] == ["yes", "worse", "not shown"]
    assert found[0].p_adjusted == pytest.approx(3 * mcnemar_p(1, 40))
    assert learned(found) == "worse"
    assert learned([found[0], found[2]]) == "yes"
    assert learned([found[2]]) == "not shown"
    assert learned([]) == "not measured"
    assert isinstance(found[0], JudgedTask)


def test_tasks_are_no_part_of_the_family_for_loss():
    """9 and 1 stays lost however many task metrics there are: they are never given to `judge`."""
    doubtful = suite("s", (60, 9, 1, 30)).knowledge
    assert isinstance(doubtful, Evidence)
    assert judge_tasks([doubtful] * 3)[0].learned == "not shown"
    assert judge([Suite("s", doubtful)])[0].verdict == "lost"
