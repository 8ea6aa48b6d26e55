"""Numbers and truth values as text, as tables and scripts write them: read, or refused by a sentence."""

import json

import pytest

from retain.data.forms import read_rows
from retain.data.item import labels_of
from retain.evaluate.suites.loading import as_suite
from retain.evaluate.suites.suite import Suites
from retain.evaluate.tasks.remarks import remarks_on
from retain.jobs.inputs.cautions import class_cautions
from retain.jobs.inputs.data import Data
from tiny import write_jsonl


def read(path, rows):
    problems = []
    return read_rows(str(write_jsonl(path, rows)), problems), problems


def chat(**marks):
    asked = [{"role": "user", "content": "Say a."}, {"role": "assistant", "content": "a", **marks}]
    return {"messages": [*asked, {"role": "user", "content": "Again."}, {"role": "assistant", "content": "a"}]}


@pytest.mark.parametrize("mark", ["0", 0, 0.0, "false", "False", False])
def test_a_turn_that_is_not_learned_is_marked_by_text(tmp_path, mark):
    rows, problems = read(tmp_path / "chat.jsonl", [chat(weight=mark)])
    assert len(rows.items) == 1
    assert problems == []


@pytest.mark.parametrize("mark", ["1", 1, "true"])
def test_a_turn_that_is_to_be_learned_and_would_not_be(tmp_path, mark):
    _, problems = read(tmp_path / "chat.jsonl", [chat(weight=mark)])
    assert "which is not followed" in problems[0]


@pytest.mark.parametrize("mark", ["0.5", "no", 2, [1]])
def test_a_mark_that_is_no_truth_value(tmp_path, mark):
    _, problems = read(tmp_path / "chat.jsonl", [chat(weight=mark)])
    assert '"weight" of a message: expected true or false (or 1 or 0), found' in problems[0]


def test_thinking_that_is_switched_off_by_text(tmp_path):
    """A template takes the text "false" for true."""
    rows, _ = read(tmp_path / "chat.jsonl", [chat() | {"chat_template_kwargs": {"enable_thinking": "false"}}])
    assert rows.items[0].template_inputs == {"enable_thinking": False}
    _, problems = read(tmp_path / "chat.jsonl", [chat() | {"enable_thinking": "off"}])
    assert 'field "enable_thinking": expected true or false' in problems[0]


def test_requests_in_a_table(tmp_path):
    (tmp_path / "requests.csv").write_text("prompt,harmful\nHow to pick a lock?,True\nHow to bake bread?,0\n")
    problems = []
    items = read_rows(str(tmp_path / "requests.csv"), problems).items
    assert problems == []
    assert [item.harmful for item in items] == [True, False]


def test_a_class_that_is_a_number_in_some_rows_and_text_in_others_is_one_class_and_told(tmp_path):
    labels = [1, "1", "0", 1.0, "0"]
    rows, problems = read(tmp_path / "train.jsonl", [{"text": f"t{n}", "label": one} for n, one in enumerate(labels)])
    assert problems == []
    assert labels_of(rows.items) == ["0", "1"]
    told = class_cautions(Data(rows.items, Suites([]), notes=rows.notes))
    assert told == [
        "train: the class '1' is written as a number or truth value (2) and as text (1); it is read as one class."
    ]


def test_truth_values_and_text_in_a_suite(tmp_path):
    rows = [{"text": "a", "label": True}, {"text": "b", "label": "true"}, {"text": "c", "label": False}]
    suite = as_suite(str(write_jsonl(tmp_path / "test.jsonl", rows)), "task", [])
    (told,) = [one for one in remarks_on([suite]) if "written as" in one]
    assert "the class 'true' is written as a number or truth value (1) and as text (1)" in told


def test_classes_that_are_one_number_and_stay_apart(tmp_path):
    rows, _ = read(
        tmp_path / "train.jsonl", [{"text": f"t{n}", "label": one} for n, one in enumerate(["01", "1", "2"])]
    )
    (told,) = class_cautions(Data(rows.items, Suites([]), notes=rows.notes))
    assert "'01' and '1' differ in case, spaces or digits only" in told


def test_groups_that_pandas_made_floats_are_the_same_groups(tmp_path):
    rows = [{"prompt": str(n), "completion": "a", "group": group} for n, group in enumerate([1, 1.0, "1", None])]
    items = read(tmp_path / "train.jsonl", rows)[0].items
    assert [item.group for item in items] == ["1", "1", "1", None]


@pytest.mark.parametrize("answer", ["1", 1.0, "B", "b"])
def test_the_right_choice_as_text(tmp_path, answer):
    rows = [{"question": "Which?", "choices": ["no", "yes"], "answer": answer}]
    assert read(tmp_path / "keep.jsonl", rows)[0].items[0].answer == 1


@pytest.mark.parametrize("row", [{"prompt": 5, "completion": "a"}, {"prompt": "a", "completion": 5}])
def test_a_number_where_text_belongs_is_refused(tmp_path, row):
    _, problems = read(tmp_path / "train.jsonl", [row])
    assert "expected text or a list of messages, found the number 5" in problems[0]
    assert json.dumps(row)
