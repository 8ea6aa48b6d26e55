"""Rows and files in which one name stands twice: JSON keeps the last of two, tables the first, and nobody is told."""

import gzip
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from retain.data.forms import read_rows
from retain.errors import InputError
from retain.evaluate.suites.loading import as_suite
from retain.records.manifest import Known
from retain.records.reading import parse_json, read_json, read_json_mapping

TWICE = '{"prompt": "Say a.", "prompt": "Say b.", "completion": "b"}'
GOOD = '{"prompt": "Say c.", "completion": "c"}'
NESTED = '{"messages": [{"role": "user", "content": "Say a."}, {"role": "assistant", "content": "a", "content": "b"}]}'
CHAT = '{"messages": [{"role": "user", "content": "Say c."}, {"role": "assistant", "content": "c"}]}'


def read(path):
    problems = []
    return read_rows(str(path), problems).items, problems


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("train.jsonl", f"{GOOD}\n{TWICE}\n{GOOD}\n", "line 2"),
        ("train.json", f"[{GOOD},\n{TWICE},\n{GOOD}]", "entry 2 (line 2)"),
        ("held.json", f'{{"data": [{GOOD}, {TWICE}, {GOOD}]}}', "data, entry 2"),
        ("below.json", "\n".join(json.dumps(json.loads(GOOD), indent=2) for _ in "12") + "\n" + TWICE, "line 9"),
    ],
)
def test_a_key_that_stands_twice_in_a_row_is_told_with_the_row_and_the_others_are_read(tmp_path, name, content, place):
    (tmp_path / name).write_text(content)
    items, problems = read(tmp_path / name)
    assert len(items) == 2
    (problem,) = problems
    assert f'{place}: "prompt" stands there twice, as "Say a." and as "Say b."; leave one out' in problem


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_message_whose_content_stands_twice(tmp_path, packed):
    content = f"{CHAT}\n{NESTED}\n".encode()
    path = tmp_path / ("chat.jsonl.gz" if packed else "chat.jsonl")
    path.write_bytes(gzip.compress(content) if packed else content)
    items, problems = read(path)
    assert len(items) == 1
    assert 'line 2: "content" stands there twice, as "a" and as "b"' in problems[0]


def test_a_file_whose_rows_stand_under_one_key_twice(tmp_path):
    (tmp_path / "held.json").write_text(f'{{"data": [{GOOD}], "data": [{GOOD}]}}')
    items, problems = read(tmp_path / "held.json")
    assert not items
    assert '"data" stands there twice' in problems[0]


def test_a_parquet_file_with_two_columns_of_one_name(tmp_path):
    table = pa.table([["Say a."], ["Say b."], ["b"]], names=["prompt", "prompt", "completion"])
    parquet.write_table(table, tmp_path / "train.parquet")
    items, problems = read(tmp_path / "train.parquet")
    assert not items
    assert "it has several columns of one name (prompt)" in problems[0]


def test_tool_arguments_written_as_json_text(tmp_path):
    call = {"function": {"name": "add", "arguments": '{"a": 1, "a": 2}'}}
    turns = [{"role": "user", "content": "Add."}, {"role": "assistant", "tool_calls": [call]}]
    (tmp_path / "tools.jsonl").write_text(json.dumps({"messages": turns}))
    _, problems = read(tmp_path / "tools.jsonl")
    assert '"a" stands there twice, as 1 and as 2' in problems[0]


def test_a_suite_of_rows(tmp_path):
    (tmp_path / "keep.jsonl").write_text('{"question": "Q?", "choices": ["a", "b"], "answer": 0, "answer": 1}\n')
    problems = []
    as_suite(f"mine:={tmp_path / 'keep.jsonl'}", "keep", problems)
    assert '"answer" stands there twice, as 0 and as 1' in problems[0]


@pytest.mark.parametrize("reader", [read_json, read_json_mapping])
def test_files_of_runs_and_adapters(tmp_path, reader):
    (tmp_path / "adapter_config.json").write_text('{"r": 8, "target_modules": ["q"], "r": 16}')
    with pytest.raises(InputError, match='"r" stands there twice, as 8 and as 16'):
        reader(tmp_path / "adapter_config.json")


def test_a_line_of_the_log_that_names_a_file_twice_vouches_for_neither(tmp_path):
    (tmp_path / ".retain.jsonl").write_text('{"name": "a", "name": "b", "digest": "1:00"}\n')
    assert Known.read(tmp_path).files == {}
    with pytest.raises(InputError, match="line 1.*twice"):
        parse_json('{"a": {"b": 1, "b": 1}}', "items.jsonl, line 1")
