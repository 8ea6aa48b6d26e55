"""Rows of other tasks (preferences, several labels, tags of words), and rows that two forms could read."""

import json

import datasets
import pytest

from retain.data.forms import read_rows
from retain.evaluate.suites.loading import as_suite
from tiny import write_jsonl

USER, BOT = {"role": "user", "content": "Say a."}, {"role": "assistant", "content": "a"}
BAD = {"role": "assistant", "content": "no"}
TURNS = [{"from": "human", "value": "Say a."}, {"from": "gpt", "value": "a"}]
PAIR = {"prompt": "Say a.", "completion": "a"}
OTHER = [USER, {"role": "assistant", "content": "something else"}]
ALPACA = {"instruction": "Say a.", "input": "", "output": "a"}


def read(path, rows, columns=""):
    problems = []
    found = read_rows(str(write_jsonl(path, rows)) + columns, problems)
    return found, problems


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"prompt": "p", "chosen": "good", "rejected": "bad"}, "completion=chosen"),
        ({"prompt": "p", "chosen": "good", "rejected": "bad", "margin": 0.5, "score_chosen": 9.0}, "completion=chosen"),
        ({"question": "p", "chosen": "good", "rejected": "bad"}, "prompt=question,completion=chosen"),
        ({"chosen": [USER, BOT], "rejected": [USER, BAD]}, "messages=chosen"),
        ({"prompt": "p", "chosen": [USER, BOT], "rejected": [USER, BAD], "messages": OTHER}, "messages=chosen"),
        ({"prompt": [USER], "chosen": [BOT], "rejected": [BAD]}, "completion=chosen"),
        ({"instruction": "p", "input": "", "chosen": "good", "rejected": "bad"}, "output=chosen"),
        ({"prompt": "p", "response_accepted": "good", "response_rejected": "bad"}, "completion=response_accepted"),
        ({"prompt": "p", "completion": "good", "rejected": "bad"}, "completion=completion"),
    ],
)
def test_preference_pairs_are_told_and_one_answer_can_be_learned(tmp_path, row, columns):
    _, problems = read(tmp_path / "a.jsonl", [row] * 12)
    assert ["line 1: it holds a preference pair" in problem for problem in problems] == [True]
    assert ["rejected" in problems[0], f"--columns {columns}" in problems[0]] == [True, True]
    found, problems = read(tmp_path / "a.jsonl", [row], f"::{columns}")
    assert (problems, found.form, len(found.items)) == ([], "completion", 1)


def test_pairs_whose_better_answer_is_there_to_be_learned_are_read(tmp_path):
    row = {"prompt": "Say a.", "chosen": [USER, BOT], "rejected": [USER, BAD], "messages": [USER, BOT], "score": 7.5}
    found, problems = read(tmp_path / "a.jsonl", [row] * 3)
    assert (problems, len(found.items)) == ([], 3)


def test_pairs_without_a_prompt_of_their_own_are_told_how_to_write_them(tmp_path):
    for row, told in (
        ({"chosen": "Human: p Assistant: good", "rejected": "Human: p Assistant: bad"}, 'answer as "completion"'),
        ({"chosen": json.dumps([USER, BOT]), "rejected": json.dumps([USER, BAD])}, "--columns messages=chosen"),
        ({"conversations": TURNS[:1], "chosen": TURNS[1], "rejected": TURNS[1]}, "assistant's"),
    ):
        _, (problem,) = read(tmp_path / "a.jsonl", [row])
        assert told in problem


@pytest.mark.parametrize(
    "rows",
    [
        [{**PAIR, "label": True}, {**PAIR, "label": False}],
        [{**PAIR, "label": False}],
        [{"messages": [USER, BOT], "label": True}, {"messages": [USER, BAD], "label": False}],
        [{**PAIR, "desirable": 1}, {**PAIR, "desirable": 0}],
        [{**ALPACA, "kto_tag": "True"}, {**ALPACA, "kto_tag": "False"}],
    ],
)
def test_completions_marked_as_bad_are_refused(tmp_path, rows):
    found, (problem,) = read(tmp_path / "a.jsonl", rows)
    assert found.items == []
    assert ["marks 1 of" in problem, "KTO" in problem, "Keep only the rows" in problem] == [True] * 3
    name = next(name for name in ("label", "kto_tag", "desirable") if name in rows[0])
    good = [row for row in rows if str(row[name]) in {"True", "1"}]
    assert all(read(tmp_path / "b.jsonl", [row])[1] == [] for row in good)
    assert read(tmp_path / "c.jsonl", rows, f"::other={name}")[1] == []


def test_in_tables_marks_are_text(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,completion,label\na,b,True\na,no,False\n")
    problems = []
    read_rows(str(tmp_path / "a.csv"), problems)
    assert ["marks 1 of 2 completions as bad" in problem for problem in problems] == [True]


def test_a_label_of_several_kinds_or_of_nothing_but_zeros_is_no_mark(tmp_path):
    for labels in (
        *(("maths", "law"), (0, 1, 2), (0, 0), (1, 0), ("1", "0"), (1.0, 0.0, None)),
        *((True, True), (None, None), (["a"], ["b"])),
    ):
        found, problems = read(tmp_path / "a.jsonl", [{**PAIR, "label": label} for label in labels])
        assert (problems, len(found.items)) == ([], len(labels))


@pytest.mark.parametrize(
    ("row", "ways"),
    [
        ({"messages": OTHER, **PAIR}, ["messages", "prompt,completion"]),
        ({"messages": OTHER, "conversations": TURNS}, ["messages", "conversations"]),
        ({"conversations": TURNS, "instruction": "Else?", "output": "x"}, ["conversations", "instruction,output"]),
        ({**PAIR, "instruction": "Else?", "response": "x"}, ["prompt,completion", "instruction,response"]),
        ({"messages": OTHER, "text": "a film", "label": "good"}, ["messages", "text,label"]),
        ({**PAIR, "question": "q", "answers": ["a"]}, ["prompt,completion", "question,answers"]),
        ({"text": "t", "label": "l", "question": "q", "choices": ["a", "b"], "answer": 0}, ["text,label"]),
    ],
)
def test_rows_that_two_forms_could_read_are_refused_until_one_is_named(tmp_path, row, ways):
    _, (problem,) = read(tmp_path / "a.jsonl", [row] * 12)
    for way in ways:
        columns = ",".join(f"{name}={name}" for name in way.split(","))
        assert f"--columns {columns}" in problem
        found, problems = read(tmp_path / "a.jsonl", [row], f"::{columns}")
        assert (problems, len(found.items)) == ([], 1)
        assert way != "text,label" or found.form == "labels"
        assert way != "instruction,output" or found.items[0].prompt_text.count("Else?") == 1


def test_two_ways_in_one_row_far_down_are_found_too(tmp_path):
    _, problems = read(tmp_path / "a.jsonl", [{"messages": OTHER}] * 300 + [{"messages": OTHER, **PAIR}])
    assert ["line 301: it can be read by" in problem for problem in problems] == [True]


@pytest.mark.parametrize(
    ("row", "noted"),
    [
        ({"messages": [USER, BOT], "prompt": "Say a.", "prompt_id": "x", "category": "c", "source": "s"}, False),
        ({"messages": [USER, BOT], "text": "<user> Say a. <bot> a", "id": 3}, False),
        ({"conversations": TURNS, "system": "Be short.", "tools": "[]", "instruction": "Say a."}, False),
        ({**ALPACA, "text": "### Instruction: Say a. ### Response: a"}, False),
        ({"messages": [USER, BOT], "question": "q", "answer": "a", "score": 0.5}, False),
        ({**PAIR, "text": "Say a. a", "score": 0.1, "rejected": False}, False),
        ({"messages": [USER, BOT], "prompt": None, "completion": None}, False),
        ({"messages": None, **PAIR}, False),
        ({"messages": None, **ALPACA}, False),
        ({"question": "q", "answers": ["a"], "choices": ["a", "b"], "answer": 0}, False),
        ({**PAIR, "messages": [USER, BOT]}, True),
        ({"conversations": TURNS, "instruction": "Say a.", "response": "a"}, True),
        ({**ALPACA, "text": "Say a. a", "label": "chat"}, True),
    ],
)
def test_further_columns_change_nothing_and_a_copy_is_noted(tmp_path, row, noted):
    found, problems = read(tmp_path / "a.jsonl", [row] * 2)
    assert (problems, len(found.items)) == ([], 2)
    assert any("say the same" in note for note in found.notes) == noted


def test_a_second_form_whose_columns_hold_nothing_is_none(tmp_path):
    datasets.Dataset.from_list([{**PAIR, "text": None, "label": "x"}]).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("prompt,completion,text,label\nSay a.,a,,x\n")
    for name in ("a.parquet", "a.csv"):
        problems = []
        found = read_rows(str(tmp_path / name), problems)
        assert (problems, [item.prompt_text for item in found.items]) == ([], ["Say a."])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "t", "label": ["a", "b"]}, "multi-label"),
        ({"text": "t", "label": []}, "multi-label"),
        ({"text": "t", "label": {"a": 1, "b": 0}}, "multi-label"),
        ({"text": "t", "labels": [0, 3]}, "multi-label"),
        ({"text": "t", "label": json.dumps(["a", "b"])}, "multi-label"),
        ({"text": "t", "label": "[0, 3, 4]"}, "multi-label"),
        ({"text": "t", "label": "[0 1 0]"}, "multi-label"),
        ({"text": "t", "label": [[0, 1, "X"]]}, "token classification"),
        ({"text": "t", "entities": [[0, 1, "X"]]}, "token classification"),
        ({"tokens": "['A', 'b', 'c']", "ner_tags": "[0, 1, 0]"}, "token classification"),
        ({"words": ["A", "b"], "upos": ["N", "V"]}, "token classification"),
        ({"image": "a.png", "label": ["a", "b"]}, "multi-label"),
        ({"id": "0", "tokens": ["A", "b"], "ner_tags": [0, 1]}, "token classification"),
        ({"words": ["A", "b"], "labels": ["O", "B-X"]}, "token classification"),
        ({"text": "A b", "entities": [{"start": 0, "end": 1, "label": "X"}]}, "token classification"),
        ({"text": "t", "label": 0.25}, "regression is not supported"),
    ],
)
def test_tasks_that_are_not_learned_here_are_named_once(tmp_path, row, told):
    rows = [row] * 12
    _, problems = read(tmp_path / "a.jsonl", rows)
    assert [told in problem and "line 1:" in problem for problem in problems] == [True]
    problems = []
    as_suite(str(tmp_path / "a.jsonl"), "keep", problems)
    assert told in problems[0]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "e4 e5", "completion": "Nf3", "winner": "white", "loser": "black"},
        {"prompt": "p", "completion": "c", "is_rejected": "no", "rejected_reason": "too long"},
        {"prompt": "p", "completion": "c", "rejected": "False"},
        {"prompt": "p", "completion": "c", "accepted": "4", "rejected": "3"},
        {"text": "t", "label": "[B-X]"},
        {"text": "t", "label": "[18, 64]"},
        {"image": True, "video": 0, **PAIR},
        {"image": "False", "video": "0", **PAIR},
        {"messages": [{"role": "system", "content": "Be kind."}, USER, BOT], **PAIR},
    ],
)
def test_harmless_columns_are_left_alone(tmp_path, row):
    found, problems = read(tmp_path / "a.jsonl", [row] * 3)
    assert (problems, len(found.items)) == ([], 3)


def test_classes_beside_completions_are_no_marks(tmp_path):
    rows = [{"prompt": f"Is {word} good?", "completion": "yes" if mark else "no", "label": mark} for word, mark in
            (("a", 1), ("b", 0), ("c", 1))]  # fmt: skip
    found, problems = read(tmp_path / "a.jsonl", rows)
    assert (problems, len(found.items)) == ([], 3)
    found, problems = read(tmp_path / "b.jsonl", [{**row, "label": bool(row["label"])} for row in rows * 2])
    assert (problems, len(found.items)) == ([], 6)


def test_a_way_that_says_less_is_not_taken_for_the_whole(tmp_path):
    row = {"instruction": "Classify", "output": "pos", "text": "Classify: nice", "label": "pos"}
    _, problems = read(tmp_path / "a.jsonl", [row] * 3)
    assert "do not say the same" in problems[0]


def test_a_column_of_tags_beside_columns_to_rename_is_no_task(tmp_path):
    _, (problem,) = read(tmp_path / "a.jsonl", [{"article": "a", "summary": "b", "tags": ["x", "y"]}])
    assert "--columns prompt=article,completion=summary" in problem


@pytest.mark.parametrize(("name", "noted"), [("score", True), ("chosen_reward", True), ("label", True), ("id", False)])
def test_numbers_that_rate_completions_are_not_read_and_that_is_noted(tmp_path, name, noted):
    found, problems = read(tmp_path / "a.jsonl", [{**PAIR, name: 0.5}] * 2)
    assert (problems, len(found.items)) == ([], 2)
    assert found.notes == ((f'"{name}" is not read: all rows count alike',) if noted else ())


def labelled_table(path, labels):
    path.write_text("".join(["text,label\n", *(f"t{number},{label}\n" for number, label in enumerate(labels))]))
    problems = []
    return read_rows(str(path), problems), problems


def test_values_on_a_scale_in_a_table_are_refused_and_classes_with_fractions_are_noted(tmp_path):
    _, problems = labelled_table(tmp_path / "a.csv", [f"{number / 7:.3f}" for number in range(20)])
    assert ["regression is not supported" in problem for problem in problems] == [True]
    for labels, noted in ((["1.5", "2.0"] * 15, True), (["1.0", "2.0"] * 15, False), (["v1.5", "2.0"] * 15, False)):
        found, problems = labelled_table(tmp_path / "b.csv", labels)
        assert (problems, len(found.items)) == ([], 30)
        assert any("values on a scale" in note for note in found.notes) == noted


@pytest.mark.parametrize(
    "row",
    [
        {"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nWhat?"}, TURNS[1]]},
        {"images": ["a.png"], **PAIR},
        {"video": "a.mp4", "instruction": "What?", "output": "a"},
        {"image": {"bytes": None, "path": "a.png"}, "question": "q", "choices": ["a", "b"], "answer": 0},
    ],
)
def test_rows_that_ask_about_an_image_are_refused_and_those_without_one_are_read(tmp_path, row):
    name = next(iter(row))
    found, (problem,) = read(tmp_path / "a.jsonl", [row, {**row, name: None}, {**row, name: []}])
    assert [f'has "{name}"' in problem, "line 1:" in problem, len(found.items)] == [True, True, 2]
    assert read(tmp_path / "a.jsonl", [row], f"::other={name}")[1] == []


def test_an_image_with_a_class_may_have_a_prompt_beside_it(tmp_path):
    rows = [{"image": f"{name}.png", "label": name, "prompt": f"a photo of a {name}"} for name in ("cat", "dog")]
    for row in rows:
        (tmp_path / row["image"]).touch()
    found, problems = read(tmp_path / "a.jsonl", rows)
    assert (problems, found.form, len(found.items)) == ([], "images", 2)
