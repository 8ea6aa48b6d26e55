"""Retrieval against ranks computed one pair at a time."""

import pytest
from by_hand import LETTERS, TEXTS, by_hand_features, predict, scores

from retain.data.item_types import Match
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.retrieval import RetrievalTask
from retain.evaluate.tasks.table import TASK_TYPES


def test_pairs_by_hand(judge):
    items = [Match(query=f"{a} b word{i}", match=f"{a} word{i}" + " c" * (i % 3)) for i, a in enumerate(LETTERS[:8])]
    suite = Suite("paired", "retrieval", "keep", items)
    found = scores(suite, predict(judge, TEXTS, suite))
    cosine = by_hand_features(judge, [i.query for i in items]) @ by_hand_features(judge, [i.match for i in items]).T
    ranks = [1 + sum(cosine[i, j] >= cosine[i, i] for j in range(8) if j != i) for i in range(8)]
    assert [score["reciprocal_rank"] for score in found] == pytest.approx([1 / int(rank) for rank in ranks], abs=1e-9)
    assert [score["top_1"] for score in found] == [float(rank == 1) for rank in ranks]
    assert next(iter(TASK_TYPES["retrieval"].metrics(suite).values())) == [1 / 8] * 8


def test_a_single_pair_is_a_problem_and_no_pair_has_no_chance():
    lone = Suite("lone", "retrieval", "keep", [Match(query="a", match="b")])
    assert "at least two" in RetrievalTask().problems(lone)[0]
    empty = Suite("none", "retrieval", "keep", ())
    assert RetrievalTask().problems(empty) == []
    assert RetrievalTask().verdict_metric(empty).name == "top_1"
    assert not RetrievalTask().items_are_independent
