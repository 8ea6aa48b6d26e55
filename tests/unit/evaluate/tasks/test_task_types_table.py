"""The table of task types, and what holds for every row of it."""

import pytest
from by_hand import PREPROCESSOR, SETTINGS

from retain.data.forms import FORMS
from retain.data.item_types import LabelledText, Match, Request
from retain.errors import InputError
from retain.evaluate.predictions import collect_predictions
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.table import TASK_TYPES, known_forms, suite_problems, task_type_of, task_type_of_form
from retain.evaluate.tasks.task_type import CHANGED_AT_MOST
from retain.events import SILENT
from tiny import make_llama


def test_suites_that_cannot_be_asked_are_refused():
    mixed = Suite("mixed", "refusal", "keep", [Request(prompt=p, harmful=p == "a") for p in "abc"])
    lone = Suite("lone", "retrieval", "keep", [Match(query="a", match="b")])
    with pytest.raises(InputError, match="split it in two files") as told:
        collect_predictions(make_llama(), PREPROCESSOR, [mixed, lone], SETTINGS, SILENT, "")
    assert "at least two" in str(told.value)


def test_every_form_has_a_task_type():
    assert {task_type_of_form(form) for form in FORMS} <= set(TASK_TYPES)
    assert all(cls in TASK_TYPES[task_type_of_form(form)].forms for form, cls in FORMS.items())


@pytest.mark.parametrize("task_type", TASK_TYPES.values(), ids=lambda task_type: task_type.name)
def test_every_row_is_under_its_name_and_answers_for_an_empty_suite(task_type):
    assert TASK_TYPES[task_type.name] is task_type
    suite = Suite("none", task_type.name, "keep", ())
    assert task_type_of(suite) is task_type
    assert suite_problems(suite) == []
    assert task_type.steps(suite) == 0
    assert task_type.verdict_metric(suite) in task_type.metrics(suite)
    assert task_type.changes_allowed(in_16_bits=False) == CHANGED_AT_MOST
    assert task_type.about.endswith(".")


def test_only_some_task_types_have_classes_probabilities_or_sequences():
    plain = TASK_TYPES["retrieval"]
    assert plain.probabilities([]) is None
    assert list(plain.sequences([Match(query="a", match="b")], None, 9)) == []
    with pytest.raises(NotImplementedError, match="retrieval has no classes"):
        plain.truth(Suite("none", "retrieval", "keep", ()))


def test_the_forms_of_task_types_are_known():
    assert known_forms() == FORMS
    assert FORMS["labels"] is LabelledText
