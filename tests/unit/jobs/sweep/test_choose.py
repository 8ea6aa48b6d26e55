"""The choice among a sweep's candidates: against a search by hand, at its borders, and in any order."""

import itertools
import math

import pytest

from retain.jobs.sweep.choose import beside, choose
from retain.records.sweep_record import Candidate, Point, Recommendation


def candidate(*points, failed=None, **more):
    """A candidate from (alpha, gain, KL)."""
    made = tuple(Point(alpha=a, loss=1 - g, gain=g, gain_error=0.01, kl=k) for a, g, k in points)
    return Candidate(**{"method": "lora", "learning_rate": 1e-3, "points": made, "failed": failed, **more})


TRIALS = [
    candidate((0.5, 0.2, 0.02), (1.0, 0.4, 0.09)),
    candidate((0.5, 0.5, 0.12), (1.0, 0.9, 0.6)),
    candidate((0.5, 0.45, 0.1), (1.0, 0.7, 0.4)),
]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1.0, (1, 1.0, True)),
        (0.5, (2, 1.0, True)),
        (0.12, (1, 0.5, True)),
        (0.1, (2, 0.5, True)),  # a KL that is the limit keeps it
        (0.0999, (0, 1.0, True)),
        (0.05, (0, 0.5, True)),
        (0.001, (0, 0.5, False)),  # none keeps it: the one that moved least
    ],
)
def test_the_largest_gain_within_the_limit(limit, expected):
    found = choose(TRIALS, limit)
    assert (found.candidate, found.alpha, found.within) == expected


def test_the_choice_does_not_depend_on_the_order():
    for order in itertools.permutations(range(3)):
        found = choose([TRIALS[i] for i in order], 0.1)
        assert (order[found.candidate], found.alpha) == (2, 0.5)


def test_nothing_between_measured_points_is_assumed():
    """At α = .7 this candidate would keep the limit by any smooth curve, and win; it was not measured there."""
    found = choose([candidate((0.5, 0.1, 0.05), (1.0, 2.0, 0.11)), candidate((1.0, 0.15, 0.01))], 0.1)
    assert (found.candidate, found.alpha) == (1, 1.0)


def test_of_equal_gains_the_one_that_moved_less():
    assert choose([candidate((1.0, 0.3, 0.05)), candidate((1.0, 0.3, 0.04))], 0.1).candidate == 1
    assert choose([candidate((1.0, 0.3, 0.05)), candidate((1.0, 0.3, 0.05))], 0.1).candidate == 0


def test_what_failed_or_is_no_number_is_passed_over():
    broken = [candidate(failed="diverged"), candidate((1.0, math.nan, 0.01)), candidate((1.0, 9.0, math.inf))]
    assert choose(broken, 1.0) is None
    assert choose([], 1.0) is None
    assert choose([*broken, candidate((1.0, -0.1, 0.01))], 1.0).candidate == 3


def test_a_choice_is_told_beside_plain_lora_at_its_best_within_the_limit():
    kl, vefa = {"own": {"kl_weight": 3.0}}, {"method": "vefa"}
    tried = [
        candidate((1.0, 0.2, 0.01)),
        candidate((0.5, 0.3, 0.05), (1.0, 0.8, 0.5), learning_rate=1e-2),
        candidate((1.0, 0.9, 0.02), **kl),
        candidate((1.0, 0.7, 0.02), learning_rate=1e-4, **kl),
        candidate((1.0, 0.6, 0.02), **vefa),
        candidate((1.0, 0.5, 0.02), replay=0.25),
    ]
    found = beside(tried, choose(tried, 0.1), 0.1)
    assert (choose(tried, 0.1).candidate, found.candidate, found.alpha) == (2, 1, 0.5)
    lora = Recommendation(candidate=1, alpha=0.5, within=True)  # then the best of what is not plain LoRA
    assert beside(tried, lora, 0.1).candidate == 2
    assert beside([*tried[:2], *tried[4:]], lora, 0.1).candidate == 2
    replayed = Recommendation(candidate=5, alpha=1.0, within=True)
    assert beside(tried, replayed, 0.1).candidate == 1


def test_without_another_within_the_limit_nothing_stands_beside():
    tried = [candidate((1.0, 0.9, 0.02)), candidate((1.0, 0.8, 0.5), method="vefa"), candidate((1.0, 0.7, 0.01))]
    assert beside(tried, choose(tried, 0.1), 0.1) is None
    assert beside(tried, choose(tried, 0.001), 0.001) is None
