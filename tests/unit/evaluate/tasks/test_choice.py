"""Choices against figures computed one sequence at a time."""

import numpy as np
import pytest
from by_hand import PREPROCESSOR, SETTINGS, TOKENIZER, log_likelihood, predict, scores

from retain.data.item_types import Choice
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.choice import ChoiceTask, in_chat
from tiny import make_tokenizer


def test_choices_by_hand(llama):
    items = [
        Choice(question=f"{a} then" + " b" * i, choices=("c", "d word1", "e"), answer=i % 3)
        for i, a in enumerate("uvwxy")
    ]
    suite = Suite("picked", "choice", "keep", items)
    for score, item in zip(scores(suite, predict(llama, PREPROCESSOR, suite)), items, strict=True):
        question = TOKENIZER.encode(item.question)
        by_hand = [log_likelihood(llama, question + TOKENIZER.encode(c), len(question)) for c in item.choices]
        assert [score[f"log-likelihood of {c!r}"] for c in item.choices] == pytest.approx(by_hand, abs=1e-9)
        assert score["accuracy"] == (int(np.argmax(by_hand)) == item.answer)


def test_every_option_is_a_step_and_chance_is_one_in_their_number():
    items = [
        Choice(question="a", choices=("b", "c"), answer=0),
        Choice(question="a", choices=("d", "e", "c"), answer=1),
    ]
    suite = Suite("picked", "choice", "keep", [*items, Choice(question="a", choices=("c", "d", "f"), answer=2)])
    assert ChoiceTask().steps(suite) == 8
    assert list(ChoiceTask().metrics(suite).values()) == [[1 / 2, 1 / 3, 1 / 3]]
    told = Suite("picked", "choice", "keep", suite.items, options={"chance": 0.75})
    assert list(ChoiceTask().metrics(told).values()) == [[0.75, 0.75, 0.75]]


def test_the_format_is_that_of_the_suite_or_of_the_settings():
    plain, chat = Suite("a", "choice", "keep", ()), Suite("a", "choice", "keep", (), options={"format": "chat"})
    assert [in_chat(plain, SETTINGS), in_chat(chat, SETTINGS)] == [False, True]
    assert in_chat(plain, Settings(keep_format="chat"))


def test_a_template_that_is_missing_is_told_with_the_item():
    bare = make_tokenizer()
    bare.chat_template = None
    suite = Suite("picked", "choice", "keep", [Choice(question="a", choices=("b", "c"), answer=0)] * 2)
    assert ChoiceTask().tokenizer_problems(suite, bare, SETTINGS) == []
    problem, others = ChoiceTask().tokenizer_problems(suite, bare, Settings(keep_format="chat"))
    assert problem.startswith("picked, item 1: messages need a chat template")
    assert others == "picked: 1 other is refused too, of 2 items."
