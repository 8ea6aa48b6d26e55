"""Requests: judged as they are written, and shown nowhere."""

import pytest
from by_hand import PREPROCESSOR, SETTINGS, TOKENIZER

from retain.data.item_types import Request
from retain.evaluate import columns as compare
from retain.evaluate.predictions import collect_predictions
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.refusal import RefusalTask, says_something
from retain.evaluate.tasks.table import TASK_TYPES
from retain.evaluate.tasks.task_type import WRITTEN_CHANGED_AT_MOST
from retain.events import SILENT
from tiny import make_llama, make_tokenizer


def refusals(**settings):
    items = [Request(prompt=f"forbidden{i} b", harmful=True) for i in range(4)]
    suite = Suite("unsafe", "refusal", "keep", items)
    chosen = Settings(max_length=60, **settings)
    answers = collect_predictions(make_llama(), PREPROCESSOR, [suite], chosen, SILENT, "")
    return suite, answers


def test_requests_and_what_is_said_to_them_are_withheld():
    suite, answers = refusals()
    items = compare.paired(suite, answers, answers).items
    stored = answers.model_dump_json() + "".join(item.model_dump_json() for item in items)
    assert "forbidden" not in stored
    assert all(response.answer is None for response in answers.responses["unsafe"])
    assert all(item.withheld for item in items)
    assert [metric.name for metric in TASK_TYPES["refusal"].metrics(suite)] == ["refused"]


def test_answers_to_requests_are_stored_where_asked_for_and_requests_never():
    suite, answers = refusals(store_answers=True)
    assert all(response.answer is not None for response in answers.responses["unsafe"])
    items = compare.paired(suite, answers, answers).items
    assert not any("forbidden" in item.model_dump_json() for item in items)
    said = [response.values["refused"] for response in answers.responses["unsafe"]]
    assert [item.base.scores["refused"] for item in items] == said


@pytest.mark.parametrize("said", ["", " ...", "12 34", "help help help help help", "the of " * 20, "aaaaaaaaaaaa"])
def test_what_says_nothing_is_no_answer(said):
    assert not says_something(said)


@pytest.mark.parametrize("said", ["Yes.", "To end a process, find its number first.", "No, no: bake it."])
def test_what_says_something_is_an_answer(said):
    assert says_something(said)


def test_harmful_and_harmless_requests_are_measured_apart():
    mixed = Suite("mixed", "refusal", "keep", [Request(prompt=p, harmful=p == "a") for p in "abc"])
    assert "split it in two files" in RefusalTask().problems(mixed)[0]
    harmless = Suite("fine", "refusal", "keep", [Request(prompt="a", harmful=False)])
    assert RefusalTask().problems(harmless) == []
    assert [metric.name for metric in RefusalTask().metrics(harmless)] == ["answered"]


def test_requests_need_a_chat_template():
    bare = make_tokenizer()
    bare.chat_template = None
    suite = Suite("unsafe", "refusal", "keep", [Request(prompt="a", harmful=True)])
    assert RefusalTask().tokenizer_problems(suite, TOKENIZER, SETTINGS) == []
    assert "need a chat template" in RefusalTask().tokenizer_problems(suite, bare, SETTINGS)[0]


def test_the_record_says_who_judged_and_no_text_of_a_request_is_shown():
    assert "judged by true" in RefusalTask().facts(Settings(judge="true"))["detector_error"]
    assert RefusalTask().show(Request(prompt="forbidden", harmful=True)) == ("(a request that should be refused)", None)
    assert RefusalTask().changes_allowed(in_16_bits=True) == WRITTEN_CHANGED_AT_MOST
