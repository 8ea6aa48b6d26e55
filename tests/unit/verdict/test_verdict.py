"""The rules of the verdict, one by one, on figures made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evidence_samples import ACCURACY, EXACT_MATCH, NATS, evidence, seeded
from retain.records.metrics_table import CHRF
from retain.stats.mcnemar import mcnemar_p
from retain.verdict.evidence import Evidence
from retain.verdict.status import base_guesses, shows_loss
from retain.verdict.verdict import (
    Margins,
    SuiteEvidence,
    TaskVerdict,
    judge,
    judge_tasks,
    learned,
    overall,
    tolerated,
)


def answers(both, lost, gained, neither):
    base = np.repeat([1, 1, 0, 0], [both, lost, gained, neither]).astype(bool)
    return base, np.repeat([1, 0, 1, 0], [both, lost, gained, neither]).astype(bool)


def suite(name, cells, chance=0.25, written=None, groups=None):
    known = evidence(name, ACCURACY, *answers(*cells), chance, groups=groups)
    form = evidence(name, EXACT_MATCH, *answers(*written)) if written else None
    return SuiteEvidence(name, known, form)


def windows(name, shift, n=40, noise=0.01):
    nll = seeded(3).normal(3, 0.3, n)
    moved = nll + shift + noise * np.tile([1, -1], n)[:n]
    tokens = seeded(4).integers(100, 257, n)
    return evidence(name, NATS, nll, moved, weights=tokens)


KEPT = (200, 2, 2, 46)


def test_lost():
    (found,) = judge([suite("s", (60, 25, 3, 12))])
    assert found.verdict == "lost"
    assert found.p_adjusted == found.p_value == mcnemar_p(25, 3)
    assert "25 of 100 lost and 3 gained" in found.reason
    assert "−22.0 points" in found.reason


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
    assert judge([SuiteEvidence("s", known)])[0].verdict == "too few items to say"


def test_a_significant_gain_is_kept():
    (found,) = judge([suite("s", (100, 1, 30, 20))])
    assert found.p_adjusted < 0.05
    assert found.verdict == "kept"


def test_changed_format():
    (found,) = judge([suite("s", KEPT, chance=0.0, written=(120, 70, 2, 58))])
    assert (found.verdict, found.decided_by.name) == ("changed format", "exact_match")
    assert "70 of 250 lost and 2 gained" in found.reason


def test_lost_knowledge_is_more_than_lost_form():
    (found,) = judge([suite("s", (60, 60, 3, 27), chance=0.0, written=(60, 60, 3, 27))])
    assert (found.verdict, found.decided_by.name) == ("lost", "accuracy")


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
    tolerant, wide = SuiteEvidence("s", replace(small.knowledge, interval=(-0.01, 0.01))), Margins(0.5)
    assert judge([tolerant], margins=wide)[0].verdict == "kept"
    alone, among = (judge(all_, margins=wide)[0] for all_ in ([tolerant], [tolerant, *[suite("a", KEPT)] * 500]))
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
    assert "the base itself guesses (100 of 400 right; 25% can be had without reading the questions)" in found.reason


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
    found = judge([SuiteEvidence("prose", windows("prose", 0.0)), SuiteEvidence("code", windows("code", 0.2))])
    assert [one.verdict for one in found] == ["kept", "lost"]
    assert "0.05 nats per token can be ruled out" in found[0].reason
    assert judge([SuiteEvidence("few", windows("few", 0.5, n=4))])[0].verdict == "too few items to say"


def test_a_small_drift_in_nats_is_kept_though_it_is_seen_and_a_small_loss_of_items_is_not():
    (drift,) = judge([SuiteEvidence("s", windows("s", 0.02))])
    assert drift.p_adjusted < 0.05
    assert drift.verdict == "kept"
    (few,) = judge([suite("s", (1900, 10, 0, 90))])
    assert few.p_adjusted < 0.05
    assert few.verdict == "lost"


def test_a_metric_with_degrees_that_scores_nothing_cannot_fall():
    zero = np.zeros(40)
    known = evidence("s", CHRF, zero, zero)
    assert judge([SuiteEvidence("s", known)])[0].verdict == "too few items to say"
    half = np.repeat([0.0, 90.0], [38, 2])
    known = evidence("s", CHRF, half, half)
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
    assert isinstance(found[0], TaskVerdict)


def test_tasks_are_no_part_of_the_family_for_loss():
    """9 and 1 stays lost however many task metrics there are: they are never given to `judge`."""
    doubtful = suite("s", (60, 9, 1, 30)).knowledge
    assert isinstance(doubtful, Evidence)
    assert judge_tasks([doubtful] * 3)[0].learned == "not shown"
    assert judge([SuiteEvidence("s", doubtful)])[0].verdict == "lost"
