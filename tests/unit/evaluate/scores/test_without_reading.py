"""Strategies that do not read: their probabilities by hand, and the nats of a model that always predicts the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from retain.evaluate.scores.text import contains, exact_match
from retain.evaluate.scores.without_reading import (
    ALMOST_SURE,
    Chance,
    best,
    context_free_nats,
    of_choices,
    of_classes,
    of_written,
    share_of_best,
)


def test_lengths_by_hand():
    found = of_choices([["a", "bb"], ["cc", "d"], ["e e", "f"]], [0, 0, 1])
    assert found["any choice"].tolist() == [0.5, 0.5, 0.5]
    assert found["the shortest choice in characters"].tolist() == [1, 0, 1]
    assert found["the longest choice in words"].tolist() == [0.5, 0.5, 0]


def test_a_place_helps_only_where_the_question_lists_its_options():
    choices, questions = [["x", "y"]] * 3, ["x or y?", "y, or else x?", "which?"]
    found = of_choices(choices, [0, 0, 1], questions)
    assert found["always choice 1"].tolist() == [1, 1, 0.5]
    assert found["always the last choice"].tolist() == [0, 0, 0.5]
    assert "always choice 1" not in of_choices(choices, [0, 0, 1])


def test_a_text_is_taken_where_it_is_an_option_and_any_option_elsewhere():
    found = of_choices([["Yes", "no"], ["no", "yes."], ["a", "b", "c"]], [0, 1, 2])
    assert found["always 'yes'"].tolist() == [1, 1, pytest.approx(1 / 3)]


def test_an_option_that_stands_in_the_question():
    found = of_choices([["cat", "dog"], ["cat", "dog"]], [1, 0], ["a dog or a fish", "neither"])
    assert found["the choice that stands in the question"].tolist() == [1, 0.5]


def test_ties_are_broken_evenly():
    assert share_of_best([1, 3, 3], 1) == 0.5
    assert share_of_best([1, 3, 3], 0) == 0


def test_one_written_answer_or_the_question_again():
    accepted, questions = [["a"], ["a", "b"], ["c"]], ["is it a", "is it x", "c or d"]
    found = of_written(accepted, contains, questions=questions, words=2, given=["a b", "a b", "z"])
    assert found["always 'a'"].tolist() == [1, 1, 0]
    assert found["always 'a b'"].tolist() == [1, 1, 0]
    assert found["the question's first words again"].tolist() == [0, 0, 1]
    assert found["the question's last words again"].tolist() == [1, 0, 0]
    assert of_written([["a"], ["b"]], exact_match) == {}  # no answer recurs


def test_classes_and_what_a_suite_states():
    found = of_classes(["x", "x", "y"], 2)
    assert best(found).strategy == "always 'x'"
    assert best(found).items == [ALMOST_SURE, ALMOST_SURE, 0]
    assert best(found, given=0.9) == Chance("what the suite states", [0.9, 0.9, 0.9])
    assert Chance().mean == 0


def test_equal_tokens_cost_what_a_uniform_model_says():
    assert context_free_nats([[1], [2]], 8) == pytest.approx([math.log(8)] * 2)  # neither occurs in the other part


def test_tokens_that_recur_are_expected():
    parts = [[3, 3, 5]] * 4
    nats = context_free_nats(parts, 100)
    by_hand = [
        -2 * math.log((6 + a) / (9 + 100 * a)) - math.log((3 + a) / (9 + 100 * a)) for a in (1, 0.1, 0.01, 0.001)
    ]
    assert nats == pytest.approx([min(by_hand)] * 4)


def test_a_part_tells_nothing_of_itself():
    alone = context_free_nats([[7] * 50, [1] * 50], 10)
    assert min(alone) >= 50 * math.log(10) - 1e-9
    assert context_free_nats([], 10) == []
    assert np.isfinite(context_free_nats([[1], []], 10)).all()
