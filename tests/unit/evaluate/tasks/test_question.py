"""Questions against figures computed one sequence at a time."""

import numpy as np
import pytest
from by_hand import LETTERS, PREPROCESSOR, SETTINGS, TOKENIZER, greedy, log_likelihood, predict, scores

from retain.data.item_types import Question
from retain.evaluate.scores.text import contains, exact_match
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.question import QuestionTask, prompt_of, written_in_chat
from retain.evaluate.tasks.table import TASK_TYPES
from retain.evaluate.tasks.task_type import CHANGED_AT_MOST, WRITTEN_CHANGED_AT_MOST, Response
from tiny import make_tokenizer


def question_suite(**options):
    items = [
        Question(question=f"{a} word{i}" + " then" * (i % 4), answers=(LETTERS[i + 1], "word3"), **chosen)
        for i, a in enumerate(LETTERS[:6])
        for chosen in ({"choices": (LETTERS[i + 1], "x y", "word3 z"), "answer": 0},)
    ]
    return Suite("asked", "question", "keep", items, options=options)


def test_a_question_is_written_and_picked(llama):
    suite = question_suite(max_new_tokens=5, format="plain")
    predicted = predict(llama, PREPROCESSOR, suite)
    found = scores(suite, predicted)
    for item, response, score in zip(suite.items, predicted.responses, found, strict=True):
        written = greedy(llama, TOKENIZER.encode(item.question), 5)
        assert response.answer == written
        assert score["contains"] == any(contains(written, answer) for answer in item.answers)
        assert score["exact_match"] == any(exact_match(written, answer) for answer in item.answers)
        question = TOKENIZER.encode(item.question)
        by_hand = [log_likelihood(llama, question + TOKENIZER.encode(c), len(question)) for c in item.choices]
        assert score["accuracy"] == (int(np.argmax(by_hand)) == item.answer)
    metrics = TASK_TYPES["question"].metrics(suite)
    assert [(metric.name, metric.role) for metric in metrics] == [
        ("accuracy", "knowledge"),
        ("contains", "format"),
        ("exact_match", "format"),
    ]
    assert np.mean(next(iter(metrics.values()))) > 0.99  # the right choice is the first of all, so nothing need be read


def test_a_question_goes_through_the_chat_template_where_there_is_one(llama):
    suite = question_suite(max_new_tokens=5)
    for item, response in zip(suite.items, predict(llama, PREPROCESSOR, suite).responses, strict=True):
        prompt = TOKENIZER.encode(f"<|user|>{item.question}<eos><|assistant|>")
        assert response.answer == greedy(llama, prompt, 5)
        by_hand = [log_likelihood(llama, prompt + TOKENIZER.encode(c), len(prompt)) for c in item.choices]
        assert response.options == pytest.approx(by_hand, abs=1e-9)


def test_a_written_answer_counts_in_its_strict_and_its_loose_form():
    suite = Suite("asked", "question", "keep", [Question(question="a", answers=("Paris",))])
    kind = TASK_TYPES["question"]
    said = {"Paris": (1, 1), "It is Paris.": (1, 0), "London": (0, 0), None: (0, 0)}
    for answer, expected in said.items():
        score = kind.score(suite, 0, Response(answer=answer))
        assert (score["contains"], score["exact_match"]) == expected
    assert [metric.name for metric in kind.metrics(suite)] == ["contains", "exact_match"]  # nothing to pick from


def test_batches_change_nothing_and_order_stays(llama):
    suite = question_suite()
    one, many = (predict(llama, PREPROCESSOR, suite, Settings(batch_size=size, max_length=60)) for size in (1, 5))
    assert [response.answer for response in one.responses] == [response.answer for response in many.responses]
    for first, second in zip(one.responses, many.responses, strict=True):
        assert first.options == pytest.approx(second.options, abs=1e-9)


def test_a_choice_of_one_is_a_problem():
    lone = Question(question="a", answers=("b",), choices=("b",), answer=0)
    suite = Suite("asked", "question", "keep", [lone, Question(question="a", answers=("b",))])
    assert QuestionTask().problems(suite)[0].startswith("1 questions have one choice")
    assert QuestionTask().problems(question_suite()) == []


def test_the_chat_template_is_used_where_there_is_one_unless_the_suite_says_otherwise():
    bare = make_tokenizer()
    bare.chat_template = None
    suite = question_suite()
    assert [written_in_chat(suite, SETTINGS, each) for each in (TOKENIZER, bare)] == [True, False]
    assert written_in_chat(suite, Settings(keep_format="chat"), bare)
    assert not written_in_chat(question_suite(format="plain"), Settings(keep_format="chat"), TOKENIZER)
    assert [prompt_of("a", chat=chat).is_chat for chat in (True, False)] == [True, False]


def test_rounding_may_turn_more_written_answers_in_16_bits():
    assert QuestionTask().changes_allowed(in_16_bits=True) == WRITTEN_CHANGED_AT_MOST
    assert QuestionTask().changes_allowed(in_16_bits=False) == CHANGED_AT_MOST
