import pyarrow as pa
from pyarrow import parquet

from retain.data.forms import read_rows
from retain.data.passages import read_text
from retain.data.places import name_of_source
from retain.data.sources import source_rows
from tiny import write_jsonl


def test_every_bad_line_is_told_with_its_number(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\nnot json\n\n{"prompt": "a"}\n[1]\n', encoding="utf-8")
    problems: list[str] = []
    examples = read_rows(str(path), problems).items
    assert len(examples) == 1
    assert [f"line {n}" in problem for n, problem in zip((2, 4, 5), problems, strict=True)] == [True] * 3


def test_many_bad_lines_are_summed_up(tmp_path):
    path = write_jsonl(tmp_path / "train.jsonl", [{"prompt": "a"}] * 25)
    problems: list[str] = []
    read_rows(str(path), problems, "completion")
    assert len(problems) == 11
    assert "and 15 more" in problems[-1]


def test_missing_empty_and_undecodable_files_are_problems(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "blank.txt").write_text(" \n", encoding="utf-8")
    problems: list[str] = []
    read_rows(str(tmp_path / "missing.jsonl"), problems)
    read_rows(str(tmp_path / "empty.jsonl"), problems)
    read_text(str(tmp_path / "latin.txt"), problems)
    read_text(str(tmp_path / "blank.txt"), problems)
    assert [
        next(word for word in ("no such file", "holds no items", "UTF-8", "is empty") if word in problem)
        for problem in problems
    ] == ["no such file", "holds no items", "UTF-8", "is empty"]


def test_a_byte_order_mark_and_unicode_line_separators_do_no_harm(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('\ufeff{"prompt": "a\u2028b", "completion": "c"}\n', encoding="utf-8")
    problems: list[str] = []
    assert read_rows(str(path), problems).items[0].prompt_text == "a\u2028b"
    assert problems == []


def test_an_unreachable_data_set_is_one_problem():
    problems: list[str] = []
    read_rows("nobody/no-such-data-set:test", problems)
    assert len(problems) == 1
    assert "neither a file here nor a data set" in problems[0]


def test_a_data_set_folder_serves_as_a_data_set_id(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [{"prompt": "a", "completion": "b"}] * 3)
    problems: list[str] = []
    rows = list(source_rows(str(tmp_path), problems))
    assert problems == []
    assert [row["prompt"] for _, row in rows] == ["a"] * 3


def test_suites_are_named_by_their_file():
    assert name_of_source("some/where/capitals.jsonl") == "capitals"
    assert name_of_source("owner/quiz:main:test") == "quiz"


def test_a_type_of_arrow_that_is_not_read_is_no_damage(tmp_path):
    pairs = pa.array([[("a", "b")]] * 2, pa.map_(pa.string(), pa.string()))
    parquet.write_table(pa.table({"text": ["a", "b"], "label": [0, 1], "more": pairs}), tmp_path / "rows.parquet")
    problems = []
    assert list(source_rows(str(tmp_path / "rows.parquet"), problems)) == []
    assert "it has columns of types that are not read (more: map<string, string" in problems[0]
    assert "damaged" not in problems[0]
