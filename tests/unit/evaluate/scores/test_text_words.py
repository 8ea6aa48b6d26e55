"""Written answers by words: against rouge-score's own tokenizer where that is defined, by hand elsewhere."""

from __future__ import annotations

import pytest
from rouge_score import rouge_scorer

from retain.evaluate.scores.text import contains, rouge_l, words


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The cat sat on a mat.", "A cat sat on the mat"),
        ("snake_case and 3.14, don't!", "Snake case AND 3 14"),
        ("nothing in common", "other"),
        ("", "other"),
    ],
)
def test_rouge_l_on_ascii_is_that_of_rouge_score(answer, expected):
    plain = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    assert rouge_l(answer, expected) == plain.score(expected, answer)["rougeL"].fmeasure


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        # Three words of three and of five in order: P = 1, R = 3/5, F = 2·0.6/1.6.
        ("кот сидел тут", "кот и собака сидел тут", 0.75),
        # Characters 首都是巴黎 against 巴黎: two of five, two of two: F = 2·0.4/1.4.
        ("首都是巴黎。", "巴黎", 4 / 7),
        # Marks belong to their letter: one word of two, F = 1/2.
        ("नमस्ते दुनिया", "नमस्ते भारत", 0.5),
        ("e\u0301te\u0301 chaud", "\u00e9t\u00e9", 2 / 3),
        ("...", "...", 0.0),
    ],
)
def test_rouge_l_by_hand_in_other_scripts(answer, expected, score):
    assert rouge_l(answer, expected) == pytest.approx(score)


def test_words_of_mixed_text():
    assert words("Don't STOP_me, １２ ab巴黎です") == ["don", "t", "stop", "me", "12", "ab", "巴", "黎", "で", "す"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("I believe it is Paris.", "paris"),
        ("New York City", "“york city”"),
        ("首都是巴黎。", "巴黎"),
        ("C++ of course", "c++"),
        ("(5)", "5"),
        ("2019-2020", "2020"),
        ("$5, or 3, 4", "5"),
        ("it is -5", "-5"),
        ("the U.S.A. did", "U.S.A."),
        ("", ""),
    ],
)
def test_an_answer_that_contains_the_expected_one(answer, expected):
    assert contains(answer, expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("party", "art"),
        ("naïveté", "naïve"),
        ("1.5", "5"),
        ("1.5", "1"),
        ("1,500", "500"),
        ("it is −5", "5"),
        ("-5", "5"),
        ("15", "5"),
        ("York New", "New York"),
        ("anything", ""),
        ("", "Paris"),
        ("a+b", "a.b"),
    ],
)
def test_an_answer_that_does_not(answer, expected):
    assert not contains(answer, expected)
