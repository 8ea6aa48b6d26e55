"""Written answers."""

from __future__ import annotations

import pytest
import sacrebleu

from retain.evaluate.scores.text import chrf, exact_match, normal_form


def test_chrf_is_that_of_sacrebleu():
    answer, expected = "The cat sat on a mat.", "A cat sat on the mat."
    assert chrf(answer, expected) == sacrebleu.CHRF().sentence_score(answer, [expected]).score
    assert chrf(expected, expected) == pytest.approx(100)
    assert chrf("", expected) == 0


def test_chrf_by_hand():
    # "ab" for "ac": one of two letters, none of one pair, no longer n-gram. Precision = recall = (½ + 0)/2 = ¼: F = 25.
    assert chrf("ab", "ac") == pytest.approx(25)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Paris", "paris"),
        (" “Paris.” ", "Paris"),
        ("New\n York!", "new york"),
        ("ﬁne", "fine"),
        ("STRASSE", "straße"),
        ("5.", "5"),
    ],
)
def test_the_same_answer(answer, expected):
    assert exact_match(answer, expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The capital is Paris", "Paris"),
        ("-5", "5"),
        (".5", "5"),
        ("the cat", "cat"),
        ("?", "!"),
        ("", "Paris"),
        ("a b", "ab"),
    ],
)
def test_another_answer(answer, expected):
    assert not exact_match(answer, expected)


def test_normal_form_is_its_own_normal_form():
    for text in ("“Paris.”", "?", "'", " a , ", '".5"', ""):
        assert normal_form(normal_form(text)) == normal_form(text)
