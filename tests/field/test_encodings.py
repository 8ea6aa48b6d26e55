"""Characters that files should not have: halves of surrogate pairs, byte order marks, NUL, UTF-16, Latin-1."""

import json

import datasets
import pytest

import retain
from retain.cli.main import main
from retain.data.forms import read_rows
from retain.data.passages import read_calibration_texts, read_text
from retain.evaluate.suites.loading import as_suite
from retain.jobs.inputs.given import given_suites

HALF = r"\ud83d"
TEXT = "Die Straße führt zum Fluß.\n\nÜber der Brücke."
ROWS = {
    "prompt": r'{"prompt": "Rate 1 X", "completion": " good"}',
    "completion": r'{"prompt": "Rate 1", "completion": " good X"}',
    "messages[0].content": r'{"messages": [{"role": "user", "content": "a X"}, {"role": "assistant", "content": "b"}]}',
    "group": r'{"prompt": "Rate 1", "completion": " good", "group": "X"}',
    "condition": r'{"prompt": "Rate 1", "completion": " good", "condition": "X"}',
    "meta.tags[1]": r'{"prompt": "Rate 1", "completion": " good", "meta": {"tags": ["a", "X"]}}',
    "text": r'{"text": "fine X", "label": "a"}',
    "label": r'{"text": "fine", "label": "X"}',
    "choices[0]": r'{"question": "q", "choices": ["X", "b"], "answer": 0}',
    "answers[0]": r'{"question": "q", "answers": ["X"]}',
    "conversations[0].value": r'{"conversations": [{"from": "human", "value": "X"}, {"from": "gpt", "value": "b"}]}',
}


def read(path):
    problems = []
    return read_rows(str(path), problems).items, problems


@pytest.mark.parametrize("bad", [HALF, r"\uDE00", r"\u0000"])
@pytest.mark.parametrize("field", ROWS)
def test_a_character_that_no_file_can_hold_is_told_with_line_field_and_cure(tmp_path, field, bad):
    path = tmp_path / "a.jsonl"
    path.write_text(ROWS[field].replace("X", "ok") + "\n" + ROWS[field].replace("X", bad) + "\n")
    items, problems = read(path)
    assert (len(items), len(problems)) == (1, 1)
    assert "line 2" in problems[0]
    assert f'"{field}"' in problems[0]
    assert "remove" in problems[0]


def test_a_whole_pair_of_surrogates_is_one_character(tmp_path):
    (tmp_path / "a.jsonl").write_text(ROWS["prompt"].replace("X", r"\ud83d\ude00"))
    (item,), problems = read(tmp_path / "a.jsonl")
    assert (problems, item.prompt_text) == ([], "Rate 1 \U0001f600")


@pytest.mark.parametrize("use", ["--train", "--test", "--keep", "--calibrate-keep", "--held-out-text"])
def test_half_a_pair_never_ends_in_a_traceback(tmp_path, tiny_folder, tiny_data, capsys, use):
    bad = tmp_path / "bad.jsonl"
    row = '{"text": "fine X"}' if use in ("--calibrate-keep", "--held-out-text") else ROWS["prompt"]
    bad.write_text(row.replace("X", "a") + "\n" + row.replace("X", HALF) + "\n")
    sources = {"--train": tiny_data / "train.jsonl", "--test": tiny_data / "test.jsonl"} | {use: bad}
    words = [word for flag, source in sources.items() for word in (flag, str(source))]
    more = ["--kl-weight", "0.1"] if use == "--calibrate-keep" else []
    code = main(["check", "--model", str(tiny_folder), *words, *more, "--output", str(tmp_path / "o")])
    told = capsys.readouterr().err
    assert code == 2
    assert "bad.jsonl, line 2" in told
    assert "surrogate" in told


def test_rows_in_memory_are_looked_at_too():
    problems = []
    given_suites([{"prompt": "a \ud83d", "completion": "b"}, {"prompt": "a", "completion": "b"}], None, None, problems)
    assert '"prompt" holds \\ud83d' in problems[0]
    assert retain.__name__ == "retain"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_is_dropped_and_says_the_encoding(tmp_path, encoding):
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    (tmp_path / "a.txt").write_bytes((mark + TEXT).encode(encoding))
    (tmp_path / "a.jsonl").write_bytes((mark + '{"prompt": "Straße", "completion": "ü"}\n').encode(encoding))
    (tmp_path / "a.csv").write_bytes((mark + "text,label\nStraße,ü\n").encode(encoding))
    problems = []
    assert read_text(str(tmp_path / "a.txt"), problems) == TEXT
    assert [item.text for item in read_calibration_texts(str(tmp_path / "a.txt"), problems)] == TEXT.split("\n\n")
    assert [read(tmp_path / name)[0][0].texts[0] for name in ("a.jsonl", "a.csv")] == ["Straße", "Straße"]
    assert problems == []


def test_marks_of_files_that_were_joined_are_dropped(tmp_path):
    row = '{"prompt": "a", "completion": "b"}\n'
    (tmp_path / "a.jsonl").write_text("\ufeff" + row + "\ufeff" + row, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"\\ufeffprompt": "\ufeffa", "completion": "b"}', encoding="utf-8")
    (tmp_path / "a.txt").write_text("\ufeffOne.\n\n\ufeffTwo.", encoding="utf-8")
    datasets.Dataset.from_list([{"prompt": "\ufeffa", "completion": "b"}]).to_parquet(tmp_path / "a.parquet")
    found = [read(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "a.parquet")]
    assert [problems for _, problems in found] == [[]] * 3
    assert [item.prompt_text for items, _ in found for item in items] == ["a"] * 4
    assert read_text(str(tmp_path / "a.txt"), []) == "One.\n\nTwo."


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
@pytest.mark.parametrize(("encoding", "told"), [("latin-1", "line 2"), ("cp1252", "line 2"), ("utf-16-le", "UTF-16")])
def test_other_encodings_are_told_with_line_and_cure(tmp_path, name, encoding, told):
    contents = {
        "a.jsonl": '{"prompt": "a", "completion": "b"}\n{"prompt": "Straße", "completion": "b"}\n',
        "a.csv": "text,label\nStraße,b\n",
        "a.txt": "One line.\nStraße\n",
    }
    (tmp_path / name).write_bytes(contents[name].encode(encoding))
    problems = []
    (read_text if name == "a.txt" else read_rows)(str(tmp_path / name), problems)
    assert len(problems) == 1
    assert told in problems[0]
    assert "save the file as UTF-8" in problems[0]


def test_a_nul_character_is_told_in_every_file(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"One line of text.\nAnother\x00 one.\n")
    (tmp_path / "a.csv").write_bytes(b"text,label\nfine,a\nsp\x00oilt,b\n")
    datasets.Dataset.from_list([{"text": "a\0", "label": "b"}]).to_parquet(tmp_path / "a.parquet")
    problems = []
    read_text(str(tmp_path / "a.txt"), problems)
    as_suite(str(tmp_path / "a.csv"), "keep", problems)
    as_suite(str(tmp_path / "a.parquet"), "keep", problems)
    told = [problem for problem in problems if "NUL" in problem]
    assert len(told) == 3
    assert ["line 2" in told[0], "line 3" in told[1], "row 1" in told[2]] == [True] * 3


def test_a_row_of_fifty_megabytes_is_refused_and_not_tokenised(tmp_path):
    with (tmp_path / "a.jsonl").open("w") as file:
        file.write('{"prompt": "a", "completion": "b"}\n')
        file.write(json.dumps({"prompt": "a " * 6_000_000, "completion": "b"}))
    items, problems = read(tmp_path / "a.jsonl")
    assert len(items) == 1
    assert 'line 2: "prompt" has 12,000,000 characters' in problems[0]
    assert "split it" in problems[0]
