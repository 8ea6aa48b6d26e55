"""Whole reports by simulation: how often nothing lost is called lost, and whether what is lost is found.

A report has eight suites of 40 to 300 items (one in groups of five that change together, one of written answers with a
strict match beside it) and the drift of three domains of language: twelve tests. Seeds are in the tests.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evidence_samples import ACCURACY, CONTAINS, EXACT_MATCH, NATS, evidence
from retain.stats.planning import has_power
from retain.verdict.verdict import SuiteEvidence, judge

REPORTS = 400
CHANCE = 0.25
DOMAINS = ("prose", "code", "speech")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """The tests decide; an interval of 400 resamples is enough to agree with them."""
    monkeypatch.setattr("retain.stats.bootstrap.RESAMPLES", 400)


def drawn_sides(rng, n, share, churn):
    """Right and wrong on both sides: P(lost) = P(gained) = churn/2 exactly."""
    cell = rng.choice(4, n, p=[share - churn / 2, churn / 2, churn / 2, 1 - share - churn / 2])
    return cell < 2, (cell == 0) | (cell == 2)


def grouped_sides(rng, groups, size, share, churn):
    """Items of one group are lost or gained together, or not at all, with some of their own."""
    sides = [np.repeat(side, size) for side in drawn_sides(rng, groups, share, churn)]
    own = drawn_sides(rng, groups * size, share, churn)
    alone = rng.random(groups * size) < 0.5
    return [np.where(alone, mine, ours) for mine, ours in zip(own, sides, strict=True)]


def figures(rng):
    return int(rng.integers(40, 301)), rng.uniform(0.4, 0.85), rng.uniform(0.05, 0.3)


def language(rng, domain, shift=0.0):
    n = int(rng.integers(20, 61))
    nll, tokens = rng.normal(3, 0.3, n), rng.integers(100, 257, n)
    moved = nll + shift + rng.uniform(0.01, 0.1) * rng.standard_t(3, n)
    return SuiteEvidence(domain, evidence(domain, NATS, nll, moved, generator=rng, weights=tokens))


def unchanged_report(rng):
    """Nothing lost, nothing gained, but much churn."""
    suites = []
    for k in range(6):
        n, share, churn = figures(rng)
        suites.append(
            SuiteEvidence(
                f"s{k}", evidence(f"s{k}", ACCURACY, *drawn_sides(rng, n, share, churn), CHANCE, generator=rng)
            )
        )
    n, share, churn = figures(rng)
    groups = max(8, n // 5)
    sides = grouped_sides(rng, groups, 5, share, churn)
    known = evidence("grouped", ACCURACY, *sides, CHANCE, generator=rng, groups=np.repeat(range(groups), 5).tolist())
    suites.append(SuiteEvidence("grouped", known))
    n, share, churn = figures(rng)
    base, tuned = drawn_sides(rng, n, share, churn)
    form = drawn_sides(rng, n, 0.7, churn)
    written = evidence("written", EXACT_MATCH, base & form[0], tuned & form[1], 0.0, generator=rng)
    suites.append(SuiteEvidence("written", evidence("written", CONTAINS, base, tuned, 0.0, generator=rng), written))
    return suites + [language(rng, domain) for domain in DOMAINS]


def test_false_alarms_in_whole_reports(capsys):
    rng, alarms = np.random.default_rng(2024), 0
    for _ in range(REPORTS):
        alarms += any(one.verdict in {"lost", "changed format"} for one in judge(unchanged_report(rng)))
    with capsys.disabled():
        print(f"\nfalse alarms: {alarms} of {REPORTS} reports")  # noqa: T201  # the rate is what we want to know
    assert stats.binomtest(alarms, REPORTS, 0.05, alternative="greater").pvalue > 0.05


def test_a_destroyed_model_is_found_wherever_it_can_be():
    """It guesses: right with probability ¼ on each item, whatever the base said; language 2 nats worse."""
    reports, found, able = 60, {}, {}
    rng, sizes = np.random.default_rng(7), (60, 100, 200, 300)
    bases = [np.arange(n) < round(0.7 * n) for n in sizes]
    for _ in range(reports):
        suites = [
            SuiteEvidence(
                f"s{len(base)}", evidence("s", ACCURACY, base, rng.random(len(base)) < CHANCE, CHANCE, generator=rng)
            )
            for base in bases
        ]
        spread = np.arange(300) % 5 < 4  # 60 groups of five, four of them right
        groups = (np.arange(300) // 5).tolist()
        guessed = rng.random(300) < CHANCE
        suites.append(
            SuiteEvidence("grouped", evidence("g", ACCURACY, spread, guessed, CHANCE, generator=rng, groups=groups))
        )
        for one in judge([*suites, language(rng, "prose", shift=2.0)]):
            able[one.suite] = able.get(one.suite, 0) + one.has_power
            found[one.suite] = found.get(one.suite, 0) + (one.verdict == "lost")
    showing = [name for name, count in able.items() if count == reports]
    assert set(showing) >= {"s100", "s200", "s300", "grouped", "prose"}
    assert able["s60"] == reports * has_power(42, 60, CHANCE, 0.05 / 6)
    assert all(found[name] >= 0.95 * reports for name in showing), found


@pytest.mark.parametrize(("n", "verdict"), [(12, "too few items to say"), (40, "too few items to say"), (300, "kept")])
def test_an_unchanged_model(n, verdict):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        right = rng.random(n) < 0.7
        report = [SuiteEvidence(str(k), evidence("s", ACCURACY, right, right, CHANCE, generator=rng)) for k in range(8)]
        assert {one.verdict for one in judge(report)} == {verdict}


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_where_the_base_guesses_nothing_is_said(share):
    """A base that is right on just what guessing gives; the other model is right on none, as many, or all."""
    rng = np.random.default_rng(3)
    for _ in range(30):
        base = rng.permutation(200) < 50
        tuned = rng.random(200) < share
        (one,) = judge([SuiteEvidence("s", evidence("s", ACCURACY, base, tuned, CHANCE, generator=rng))])
        assert one.verdict == "too few items to say"
