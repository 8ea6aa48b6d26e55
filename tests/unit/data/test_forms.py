"""Rows of every form from JSONL, CSV and folders, and what is said of those that are wrong."""

import json

import pytest

from retain.data.contamination import find_overlaps
from retain.data.forms import FORMS, form_of, read_rows
from retain.data.item_types import LabelledImage, LabelledText, Match, Question, Request
from tiny import write_images, write_jsonl

ROWS = {
    "refusal": {"prompt": "p", "harmful": True},
    "completion": {"prompt": "p", "completion": "c"},
    "question": {"question": "q", "answers": ["a"], "choices": ["a", "b"], "answer": 0},
    "choice": {"question": "q", "choices": ["a", "b"], "answer": 1},
    "images": {"image": "i.png", "label": "l"},
    "labels": {"text": "t", "label": "l"},
    "retrieval": {"query": "q", "match": "m"},
}


@pytest.mark.parametrize("form", FORMS)
def test_keys_tell_the_form(form):
    assert form_of(ROWS[form]) == form
    assert form_of({**ROWS[form], "domain": "d", "group": 3}) == form


def test_a_conversation_is_a_completion_and_the_rest_is_nothing():
    assert form_of({"messages": []}) == "completion"
    assert form_of({"question": "q"}) is None


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"images"}))
def test_items_of_each_form_are_read_with_group_and_condition(tmp_path, form):
    problems = []
    source = write_jsonl(tmp_path / "d.jsonl", [{**ROWS[form], "group": 7, "domain": "law"}] * 2)
    found = read_rows(str(source), problems)
    assert problems == []
    assert (found.form, len(found.items)) == (form, 2)
    assert (found.items[0].group, found.items[0].condition) == ("7", "law")
    assert all(found.items[0].texts)


def test_a_table_reads_as_json_lines_do(tmp_path):
    (tmp_path / "d.csv").write_text('text,label,text_pair\n"a, b",1,c\nd,0,\n', encoding="utf-8-sig")
    rows = [{"text": "a, b", "label": 1, "text_pair": "c"}, {"text": "d", "label": 0}]
    write_jsonl(tmp_path / "d.jsonl", rows)
    problems = []
    table, lines = (read_rows(str(tmp_path / name), problems) for name in ("d.csv", "d.jsonl"))
    assert problems == []
    assert table == lines
    assert table.items[0] == LabelledText(text="a, b", text_pair="c", label="1")


def test_a_table_with_too_many_or_too_few_cells_is_told(tmp_path):
    (tmp_path / "d.csv").write_text("text,label\na,x,surplus\nb\nc,y\n", encoding="utf-8")
    problems = []
    found = read_rows(str(tmp_path / "d.csv"), problems)
    assert [item.text for item in found.items] == ["c"]
    assert ["line 2" in problems[0], "line 3" in problems[1], len(problems)] == [True, True, 2]
    assert ["has 3 fields and the header 2" in problems[0], "has 1 of 2 fields" in problems[1]] == [True, True]


def test_a_folder_of_pictures_names_the_classes(tmp_path):
    folder = write_images(tmp_path / "p", 2)
    (folder / "red" / "notes.txt").write_text("no image", encoding="utf-8")
    problems = []
    found = read_rows(str(folder), problems)
    assert (problems, found.form) == ([], "images")
    assert [item.label for item in found.items] == ["blue", "blue", "green", "green", "red", "red"]


def test_a_table_of_pictures_has_paths_relative_to_itself(tmp_path, monkeypatch):
    write_images(tmp_path / "data" / "p", 1)
    paths = sorted((tmp_path / "data" / "p").rglob("*.png"))
    rows = "".join(f"{path.relative_to(tmp_path / 'data')},{path.parent.name}\n" for path in paths)
    (tmp_path / "data" / "table.csv").write_text("image,label\n" + rows, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    problems = []
    found = read_rows("data/table.csv", problems)
    assert problems == []
    assert [(tmp_path / item.image).samefile(path) for item, path in zip(found.items, paths, strict=True)] == [True] * 3


def test_every_problem_is_told_with_its_place(tmp_path):
    lines = [
        json.dumps({"text": "a", "label": "x"}),
        "{broken",
        json.dumps({"text": "", "label": "x"}),
        json.dumps({"text": "b"}),
        json.dumps({"text": "c", "label": None}),
        json.dumps({"image": "p.png", "label": "x"}),
        json.dumps([1]),
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(lines), encoding="utf-8")
    problems = []
    found = read_rows(str(tmp_path / "d.jsonl"), problems)
    assert len(found.items) == 1
    assert sorted(int(problem.split("line ")[1].split(":")[0]) for problem in problems) == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "q", "answers": []}, "answers"),
        ({"question": "q", "answers": ["a"], "choices": ["a", "b"]}, "answer is None"),
        ({"question": "q", "answers": ["a"], "choices": ["a", "a"], "answer": 0}, "same text"),
        ({"prompt": "p", "harmful": "yes"}, "true or false"),
        ({"image": "none.png", "label": "l"}, "no image"),
        ({"image": "", "label": "l"}, "path of an image"),
        ({"text": "t", "label": 3.8}, "no class"),
        ({"text": "t", "label": None}, "expected text, found null"),
        ({"query": "q", "match": ""}, "match"),
        ({"something": 1}, "Known are"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(tmp_path, row, told):
    problems = []
    read_rows(str(write_jsonl(tmp_path / "d.jsonl", [row])), problems)
    assert told in " ".join(problems)


def test_a_file_that_is_not_there_is_one_problem(tmp_path):
    problems = []
    found = read_rows(str(tmp_path / "none.jsonl"), problems)
    assert (len(problems), len(found.items)) == (1, 0)
    assert "none.jsonl" in problems[0]


@pytest.mark.parametrize("inside", ["nothing", "flat"])
def test_a_folder_without_classes_is_told(tmp_path, inside):
    folder = tmp_path / "p"
    folder.mkdir()
    if inside == "flat":
        next(write_images(tmp_path / "q", 1).rglob("*.png")).rename(folder / "a.png")
    problems = []
    read_rows(str(folder), problems)
    assert len(problems) == 1
    assert "CLASS/NAME.png" in problems[0]


def test_the_same_picture_under_another_name_is_an_overlap(tmp_path):
    train = read_rows(str(write_images(tmp_path / "train", 2, seed=1)), [])
    test = read_rows(str(write_images(tmp_path / "test", 2, seed=2)), [])
    assert find_overlaps(train.items, test.items, {}, "") == []
    stolen = tmp_path / "other.png"
    stolen.write_bytes((tmp_path / "train" / "red" / "1-000.png").read_bytes())
    spoilt = LabelledImage(image=str(stolen), label="red", corruption=("fog", 3, 0))
    told = find_overlaps(train.items, test.items, {"mine": [*test.items, spoilt]}, "")
    assert len(told) == 1
    assert "share 1 of 7" in told[0]


@pytest.mark.parametrize(
    ("train", "kept"),
    [
        (LabelledText(text="An old  story", label="x"), LabelledText(text="an OLD story", label="y")),
        (LabelledText(text="to find", label="x"), Match(query="else", match="To find")),
        (LabelledText(text="Who wrote it?", label="x"), Question(question="Who wrote it?", answers=("I",))),
        (LabelledText(text="Do it.", label="x"), Request(prompt="do it.", harmful=True)),
    ],
)
def test_texts_of_any_form_overlap(train, kept):
    assert find_overlaps([train], [], {"kept": [kept]}, "")[0].startswith(
        "train and retention suite 'kept' share 1 of 1"
    )
