"""Gone, still there, only refused, or too few items to say: the verdicts as people would draw them from the counts."""

import numpy as np
import pytest

from retain.records.metrics_table import ACCURACY, CONTAINS
from retain.verdict.column import Column
from retain.verdict.gone import forgot, gone_evidence, judge_gone
from retain.verdict.gone_reasons import percent
from retain.verdict.judge import RunEvidence, judge_run
from retain.verdict.verdict import Margins


def evidence(known, left, *, n=None, declined=0, name="capitals", metric=CONTAINS, chance=0.0, suites=1, groups=None):
    n = known if n is None else n
    place = np.arange(n)
    base, tuned = (place < known).astype(float), (place < left).astype(float)
    refused = (place >= left) & (place < left + declined)
    column = Column(name, metric, base, tuned, chance, groups=groups)
    written = metric is CONTAINS
    return gone_evidence(column, refused if written else None, np.zeros(n, bool) if written else None, suites=suites)


def verdict(*evidences, margin=0.05):
    return judge_gone(evidences, margin)[0]


@pytest.mark.parametrize(
    ("known", "left", "declined", "word"),
    [
        (59, 0, 0, "gone"),
        (58, 0, 0, "too few items to say"),
        (40, 0, 0, "too few items to say"),
        (40, 10, 0, "still there"),
        (200, 3, 0, "gone"),
        (200, 8, 0, "too few items to say"),
        (60, 0, 60, "only refused"),
        (60, 0, 1, "only refused"),
        (100, 0, 1, "gone"),
        (60, 30, 30, "still there"),
        (0, 0, 0, "too few items to say"),
    ],
)
def test_the_verdict_follows_from_what_is_left_of_what_the_base_knew(known, left, declined, word):
    found = verdict(evidence(known, left, n=max(known, 30), declined=declined))
    assert found.verdict == word
    assert (found.known, found.base_guesses) == (known, known == 0)


def test_the_reason_says_what_was_counted_and_what_it_takes():
    told = verdict(evidence(40, 0)).reason
    assert "of 40 items that the base has right the tuned model has 0 right" in told
    assert "up to 7.2% left cannot be ruled out (margin 5%)" in told
    assert "takes 59 known items" in told
    assert verdict(evidence(40, 0, n=80)).items_needed == 118
    assert not verdict(evidence(40, 0)).has_power
    assert verdict(evidence(59, 0)).has_power
    assert "60 declined" in verdict(evidence(60, 0, declined=60)).reason


@pytest.mark.parametrize(
    ("left", "cut", "needed", "words"),
    [
        (0, 8, False, "8 answers that were cut off count as left: longer answers (--max-new-tokens), not more items"),
        (1, 6, False, "6 answers that were cut off count as left"),
        (0, 1, True, "items in all would settle it"),
        (5, 0, True, "items in all would settle it"),
    ],
)
def test_more_items_are_asked_for_only_where_they_would_settle_it(left, cut, needed, words):
    """Of 60 known: with 8 cut off, 13 % count as left and 0 are shown to be, and so it would be with any number."""
    place = np.arange(60)
    flags = (place >= left) & (place < left + cut)
    column = Column("capitals", CONTAINS, np.ones(60), (place < left).astype(float), 0.0)
    nothing = np.zeros(60, bool)
    found = verdict(gone_evidence(column, nothing, nothing, flags))
    assert found.verdict == "too few items to say"
    assert (found.items_needed is not None) == needed
    assert words in found.reason


def test_saying_nothing_is_not_shown_to_be_not_knowing():
    column, no = Column("capitals", CONTAINS, np.ones(60), np.zeros(60)), np.zeros(60, bool)
    assert verdict(gone_evidence(column, no, ~no)).verdict == "only refused"


def test_an_answer_that_was_cut_off_may_have_gone_on_to_the_old_one():
    column = Column("capitals", CONTAINS, np.ones(60), np.zeros(60))
    no, cut = np.zeros(60, bool), np.arange(60) < 20
    found = verdict(gone_evidence(column, no, no, cut))
    assert found.verdict == "too few items to say"
    assert "20 cut off" in found.reason
    assert verdict(gone_evidence(column, no, no, no)).verdict == "gone"


def test_an_answer_that_is_avoided_more_than_guessing_would_is_told():
    found = verdict(evidence(300, 0, n=310, metric=ACCURACY, chance=0.25), margin=0.1)
    assert found.verdict == "gone"
    assert "fewer than guessing would" in found.reason


def test_several_suites_are_one_family_and_the_bounds_say_the_same_as_the_verdicts():
    three = [evidence(60, 0, name=name, suites=3) for name in "abc"]
    assert verdict(three[0]).verdict == "gone"  # alone it would be
    together = judge_gone(three, 0.05)
    assert {one.verdict for one in together} == {"too few items to say"}
    assert all(one.bound > 0.05 for one in together)
    enough = judge_gone([evidence(80, 0, name="a", suites=2), evidence(60, 0, name="b", suites=2)], 0.05)
    assert [one.verdict for one in enough] == ["gone", "gone"]  # Holm: the second needs no more than alone
    assert all(one.bound <= 0.05 for one in enough)


def test_a_suite_with_options_is_gone_only_if_it_is_by_likelihood_and_in_writing():
    written, picked = evidence(80, 0), evidence(90, 90, n=100, metric=ACCURACY, chance=0.25)
    found = verdict(written, picked)
    assert (found.verdict, found.decided_by) == ("still there", ACCURACY)
    cannot_write = evidence(0, 0, n=100)
    assert verdict(cannot_write, evidence(99, 24, n=100, metric=ACCURACY, chance=0.25), margin=0.3).verdict == "gone"


def test_wordings_of_one_question_are_one_unit():
    one_fact_each = [f"fact {place // 20}" for place in range(60)]
    found = verdict(evidence(60, 0, groups=one_fact_each))
    assert (found.verdict, found.units) == ("too few items to say", 3)


@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_of_three_suites_that_are_all_still_there_at_the_margin_hardly_any_is_called_gone(chance):
    # 150 reports of three suites of 150 known items, exactly the margin left on each: any "gone" is false
    draw, false = np.random.default_rng(11), 0
    for _ in range(150):
        suites = []
        for name in "abc":
            knows = draw.random(160) < 0.94
            base = knows | (draw.random(160) < chance)
            tuned = (knows & (draw.random(160) < 0.1)) | (draw.random(160) < chance)
            column = Column(name, ACCURACY, base.astype(float), tuned.astype(float), chance)
            suites.append(gone_evidence(column, suites=3))
        false += any(one.verdict == "gone" for one in judge_gone(suites, 0.1))
    assert false / 150 <= 0.0855  # 5 % and two standard errors of 150 draws


def test_the_run_is_judged_by_the_worst_suite_and_not_at_all_by_a_base_that_does_not_answer_alike():
    words = judge_gone([evidence(80, 0, name="a"), evidence(80, 40, name="b")], 0.05)
    assert forgot(words)[0] == "still there"
    assert "b (1 of 2)" in forgot(words)[1]
    assert forgot(()) == (None, "")
    from retain.records.verdicts import AACheck

    failed = AACheck(items=8, changed=5, score_difference_max=1.0, passed=False, note="The base answers otherwise.")
    run = judge_run(RunEvidence(gone=(evidence(80, 0),)), Margins(), failed)
    assert (run.forgot, run.gone[0].verdict) == ("too few items to say", "gone")


@pytest.mark.parametrize(("margin", "told"), [(0.005, "0.5%"), (0.05, "5%"), (0.999, "99.9%"), (0.07, "7%")])
def test_a_margin_is_told_as_it_was_given(margin, told):
    assert percent(margin) == told
