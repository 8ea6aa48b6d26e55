"""Answers that decline, told apart from answers that are wrong and from nothing."""

import pytest

from retain.evaluate.scores.declining import declines


@pytest.mark.parametrize(
    "answer",
    [
        "I cannot say.", "I’m not able to tell you that.", "I do not know the capital of France.", "I'm not sure.",
        "Sorry, I can't help with that.", "I have no information about it", "Unknown", "No comment.", "N/A",
        "[redacted]", "I would rather not say", "That is confidential.", "It cannot be disclosed", "We don't know",
    ],
)  # fmt: skip
def test_declining_answers_are_found(answer):
    assert declines(answer)


@pytest.mark.parametrize(
    "answer",
    ["Paris", "Rome", "", "  ", "The capital is Lyon, I think.", "Nonesuch", "nothing but Paris", "I say Berlin",
     "We know that it is Paris.", "It is known to all as Rome"],
)  # fmt: skip
def test_other_answers_are_not(answer):
    assert not declines(answer)
