"""The right answer of a multiple choice as people write it, and classes that are truth values or numbers."""

import pytest

from retain.cli.main import main
from retain.data.forms import read_rows
from retain.data.item_types import Choice, LabelledText, Question
from retain.jobs.inputs.cautions import class_cautions
from retain.jobs.inputs.data import Data, Suites
from tiny import WORDS, write_jsonl


def answer(value, choices=("Oslo", "Rome", "Bern")):
    return Choice.parse({"question": "q", "choices": choices, "answer": value}).answer


@pytest.mark.parametrize("value", [1, 1.0, "1", "B", "b", "(B)", "B.", "Rome", " Rome "])
def test_an_index_a_letter_or_the_text_names_the_choice(value):
    assert answer(value) == 1


def test_letters_that_are_the_texts_name_themselves():
    assert answer("b", ["a", "b"]) == 1
    assert answer("B", ["A", "B", "C"]) == 1


@pytest.mark.parametrize(("value", "choices"), [("2", ["1", "2", "3"]), ("A", ["B", "A"]), ("0", ["1", "0"])])
def test_text_that_means_two_choices_is_refused(value, choices):
    with pytest.raises(ValueError, match="which is meant"):
        answer(value, choices)
    assert answer(1, choices) == 1


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, "found true"),
        (None, "found null"),
        (1.5, "number 1.5"),
        ("Paris", "none of the choices"),
        ("Z", "none of"),
    ],
)
def test_what_names_no_choice_is_told_with_the_ways_to_name_one(value, found):
    with pytest.raises(ValueError, match=f"{found}.*counted from 0, its letter, or its text"):
        answer(value)


def test_an_answer_counted_from_one_is_told_with_the_cure():
    with pytest.raises(ValueError, match="answer is 3, but there are 3 choices.*counted from 1, subtract 1"):
        answer(3)
    with pytest.raises(ValueError, match="counted from 0\\)$"):
        answer(7)


def test_choices_with_labels_are_taken_apart():
    choices = {"text": ["Oslo", "Rome"], "label": ["1", "2"]}
    assert answer("2", choices) == 1
    assert answer("B", {"text": ["Oslo", "Rome"], "label": ["A", "B"]}) == 1
    with pytest.raises(ValueError, match='"text": \\[…\\], "label"'):
        answer("2", {"text": ["Oslo"], "label": []})


def test_questions_take_the_same_answers():
    row = {"question": "q", "answers": "Rome", "choices": ["Oslo", "Rome"]}
    assert Question.parse({**row, "answer": "B"}).answer == 1
    assert Question.parse({"question": "q", "answers": ["Rome"]}).answer is None


@pytest.mark.parametrize(("label", "name"), [(True, "true"), (False, "false"), (1, "1"), (2.0, "2"), ("yes", "yes")])
def test_classes_may_be_truth_values_and_whole_numbers(label, name):
    assert LabelledText.parse({"text": "t", "label": label}).label == name


@pytest.mark.parametrize("label", [3.8, float("nan"), None, ["a"]])
def test_what_is_no_class_is_told(tmp_path, label):
    with pytest.raises(ValueError, match='field "label": (the number .* is no class|expected text, found)'):
        LabelledText.parse({"text": "t", "label": label})


def test_a_file_is_told_line_by_line_in_words(tmp_path):
    rows = [{"question": "q", "choices": ["a", None], "answer": 0}, {"question": 3, "choices": "ab", "answer": 0}]
    problems = []
    read_rows(str(write_jsonl(tmp_path / "c.jsonl", rows)), problems)
    assert problems[0].endswith('line 1: field "choices", entry 2: expected text, found null.')
    assert 'field "question": expected text, found the number 3; field "choices": expected a list' in problems[1]


def test_a_suite_whose_first_choice_is_never_right_is_remarked_upon(tiny_folder, tiny_data, tmp_path, capsys):
    rows = [
        {
            "question": f"{WORDS[n % 26]} word{n} then",
            "choices": [WORDS[(n + k) % 26] for k in range(4)],
            "answer": 1 + n % 3,
        }
        for n in range(30)
    ]
    keep = write_jsonl(tmp_path / "shifted.jsonl", rows)
    given = ["--model", str(tiny_folder), "--train", str(tiny_data / "train.jsonl"), "--keep", str(keep)]
    assert main(["check", *given, "--output", str(tmp_path / "run")]) == 0
    assert "the first choice (0) is right in none of 30 items" in capsys.readouterr().out
    for row in rows:
        row["answer"] = 3  # always one letter is another matter
    write_jsonl(keep, rows)
    assert main(["check", *given, "--output", str(tmp_path / "run")]) == 0
    assert "is right in none" not in capsys.readouterr().out


def test_spaces_around_a_class_make_no_other_and_its_case_is_remarked_upon(tmp_path):
    rows = [{"text": f"word{n}", "label": label} for n, label in enumerate(["a", "a ", "\tA", "b"])]
    problems: list[str] = []
    items = read_rows(str(write_jsonl(tmp_path / "a.jsonl", rows)), problems).items
    assert (problems, [item.label for item in items]) == ([], ["a", "a", "A", "b"])
    (told,) = class_cautions(Data(items, Suites([])))
    assert "'A' and 'a' differ in case" in told
    assert class_cautions(Data(items[:2], Suites([]))) == []
