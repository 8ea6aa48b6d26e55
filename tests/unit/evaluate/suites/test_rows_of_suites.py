"""Rows of data as rows of items: read from files and folders, filtered, and adapted field by field."""

import pytest

from retain.evaluate.suites.format import DataSource, LocatedSuite, SuiteFile
from retain.evaluate.suites.rows_of_suites import adapted_rows, local_rows, source_raw
from tiny import write_images, write_jsonl

ROW = {"q": "Who?", "answer": {"value": "Ann", "all": ["Ann", "Anne"]}, "a b": 3}


def suite(tmp_path, **fields):
    values = {"suite": 1, "name": "own", "title": "Own", "task_type": "question", "sources": [{"file": "rows.jsonl"}]}
    return LocatedSuite(SuiteFile.model_validate({**values, **fields}), tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ("q", "Who?"),
        ("a b", 3),
        ("answer.value", "Ann"),
        ("answer.all[1]", "Anne"),
        ("{{ q | upper }}!", "WHO?!"),
        ("{{ row['a b'] }}", "3"),
        (["q", "answer.value"], ["Who?", "Ann"]),
        (True, True),
    ],
)
def test_a_field_is_a_column_a_template_a_list_or_a_constant(tmp_path, spec, value):
    located = suite(tmp_path, fields={"question": spec})
    assert list(adapted_rows(located, located.file.sources[0], ROW)) == [{"question": value}]


def test_rows_that_are_not_wanted_make_nothing_and_rows_without_fields_stay(tmp_path):
    located = suite(tmp_path, where="row['a b'] > 5")
    assert list(adapted_rows(located, located.file.sources[0], ROW)) == []
    assert list(adapted_rows(located, DataSource(file="other", where="true"), ROW)) == [ROW]
    assert list(adapted_rows(located, located.file.sources[0], [1])) == [[1]]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"question": "none"}, "field \"question\": there is no 'none' in the row (found q, answer, a b)"),
        ({"question": "{{ nothing }}"}, 'field "question": '),
    ],
)
def test_a_column_that_is_not_there_is_told(tmp_path, fields, sentence):
    located = suite(tmp_path, fields=fields)
    with pytest.raises(ValueError) as refused:  # noqa: PT011 -- its text is what is tested
        list(adapted_rows(located, located.file.sources[0], ROW))
    assert str(refused.value).startswith(sentence)


def test_code_beside_the_file_makes_the_rows(tmp_path):
    (tmp_path / "twice.py").write_text("def rows(row):\n    yield row\n    yield row\n")
    located = suite(tmp_path, code="twice.py")
    assert list(adapted_rows(located, located.file.sources[0], ROW)) == [ROW, ROW]
    (tmp_path / "none.py").write_text("x = 1\n")
    empty = suite(tmp_path, code="none.py")
    with pytest.raises(ValueError, match="has no function rows"):
        list(adapted_rows(empty, empty.file.sources[0], ROW))


def test_a_folder_of_images_gives_a_row_for_each_with_its_folders(tmp_path):
    write_images(tmp_path / "p", 1)
    raw = local_rows(tmp_path / "p")
    assert [(row["label"], row["folders"], row["name"]) for _, row in raw.rows] == [
        (colour, (colour,), "0-000.png") for colour in ("blue", "green", "red")
    ]


def test_a_source_is_read_where_it_is_or_the_reason_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("RETAIN_ASSETS", str(tmp_path / "assets"))
    located = suite(tmp_path)
    assert source_raw(located, located.file.sources[0]).missing.startswith(f"no {tmp_path / 'rows.jsonl'} or ")
    write_jsonl(tmp_path / "rows.jsonl", [ROW])
    raw = source_raw(located, located.file.sources[0])
    assert [row for _, row in raw.rows] == [ROW]
    assert (raw.folder, list(raw.problems), raw.missing) == (tmp_path, [], "")
