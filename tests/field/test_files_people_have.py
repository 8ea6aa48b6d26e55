"""Files of data as people have them: Parquet, Arrow, gzip, lists of JSON, folders; Alpaca, ShareGPT and others."""

import gzip
import json
import re

import datasets
import pytest

from retain.cli.main import main
from retain.data.forms import read_rows
from retain.data.passages import read_calibration_texts, read_text
from retain.evaluate.suites.loading import as_suite
from retain.jobs.inputs.given import given_suites
from tiny import write_images, write_jsonl

PAIRS = [{"prompt": f"word{number} then", "completion": f" word{number + 1}"} for number in range(6)]
EXPECTED = [row["prompt"] for row in PAIRS]
TURNS = [{"from": "human", "value": "Say a."}, {"from": "gpt", "value": "a"}]


def read(source, **more):
    problems = []
    rows = read_rows(str(source), problems, **more)
    return rows.items, problems


def check(capsys, tiny_folder, train, *more):
    """The exit code of `retain check`, and what it says."""
    words = ["check", "--model", str(tiny_folder), "--train", str(train), "--keep-format", "plain", "--method", "lora"]
    code = main([*words, "--output", str(train) + "-out", *map(str, more)])
    told = capsys.readouterr()
    return code, told.out + told.err


def saved(kind, folder):
    """PAIRS as a file or a folder of some kind."""
    data = datasets.Dataset.from_list(PAIRS)
    lines = "".join(json.dumps(row) + "\n" for row in PAIRS)
    path = folder / kind
    if kind.endswith(".parquet"):
        data.to_parquet(path)
    elif kind == "saved":
        data.save_to_disk(path)
    elif kind == "splits":
        datasets.DatasetDict({"train": data, "test": data.select(range(2))}).save_to_disk(path)
    elif kind == "shards":
        (path / "data").mkdir(parents=True)
        data.select(range(3)).to_parquet(path / "data" / "train-00000-of-00002.parquet")
        data.select(range(3, 6)).to_parquet(path / "data" / "train-00001-of-00002.parquet")
        data.select(range(2)).to_parquet(path / "data" / "test-00000-of-00001.parquet")
        (path / "README.md").write_text("a card")
    elif kind.endswith(".arrow"):
        data.save_to_disk(folder / "inner")
        next((folder / "inner").glob("*.arrow")).rename(path)
    elif kind.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif kind == "indented.json":
        path.write_text(json.dumps(PAIRS, indent=2))
    elif kind == "one-line.json":
        path.write_text(json.dumps(PAIRS))
    elif kind == "held.json":
        path.write_text(json.dumps({"version": 1, "data": PAIRS}, indent=1))
    elif kind == "printed.json":
        path.write_text("\n".join(json.dumps(row, indent=2) for row in PAIRS))
    else:  # lines of JSON, whatever the name says
        path.write_text(lines)
    return path


KINDS = [
    *("a.parquet", "A.PARQUET", "saved", "splits", "shards", "data.arrow", "a.jsonl.gz", "a.JSONL", "no-suffix"),
    *("indented.json", "one-line.json", "held.json", "printed.json", "really-jsonl.csv", "really-jsonl.txt"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_training_rows_of_any_file_are_read_in_their_order(tmp_path, kind):
    items, problems = read(saved(kind, tmp_path), obvious="train")
    assert problems == []
    assert [item.prompt_text for item in items] == EXPECTED


@pytest.mark.parametrize("kind", ["a.parquet", "saved", "shards", "a.jsonl.gz", "indented.json"])
def test_such_files_are_a_test_a_suite_and_texts_to_keep(tmp_path, kind):
    path, problems = saved(kind, tmp_path), []
    assert len(as_suite(str(path), "task", problems).items) == (2 if kind == "shards" else 6)
    source = f"{path}:train" if kind == "shards" else str(path)
    assert len(as_suite(source, "keep", problems).items) == 6
    assert len(read_calibration_texts(source, problems)) == 6
    assert problems == []


def test_a_parquet_file_is_checked_from_the_command_line(tmp_path, tiny_folder, capsys):
    test = write_jsonl(tmp_path / "test.jsonl", [{"prompt": f"z{n} z", "completion": " word1"} for n in range(3)])
    code, told = check(capsys, tiny_folder, saved("a.parquet", tmp_path), "--test", test)
    assert (code, "on 6 training examples" in told) == (0, True), told


@pytest.mark.parametrize("kind", ["a.jsonl", "a.parquet", "saved", "data.arrow", "one-line.json"])
def test_rows_of_every_file_are_counted_from_one(tmp_path, monkeypatch, kind):
    monkeypatch.setitem(PAIRS[4], "completion", "")
    _, problems = read(saved(kind, tmp_path))
    assert [re.search(r"(line|row|entry) 5\b", problem) is not None for problem in problems] == [True]


def test_rows_of_python_are_counted_from_one():
    problems = []
    given_suites(None, {"mine": [*PAIRS[:4], {**PAIRS[4], "completion": ""}]}, None, problems)
    assert [problem.startswith("mine, row 5:") for problem in problems] == [True]


def test_texts_of_parquet_and_packed_files_are_held_out_text(tmp_path):
    texts = ["The river rises.", "It ends in a lake."]
    datasets.Dataset.from_dict({"text": texts}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("\n\n".join(texts).encode()))
    datasets.Dataset.from_dict({"content": texts}).to_parquet(tmp_path / "b.parquet")
    problems = []
    for source in ("a.parquet", "a.txt.gz", "b.parquet::text=content"):
        assert read_text(str(tmp_path / source), problems) == "\n\n".join(texts)
    assert problems == []
    read_text(str(tmp_path / "b.parquet"), problems)
    assert "b.parquet::text=content" in problems[0]


def test_splits_are_named_or_told(tmp_path):
    folder = saved("splits", tmp_path)
    assert len(read(f"{folder}:test")[0]) == 2
    _, problems = read(folder)
    assert "several parts (train, test)" in problems[0]
    assert f"{folder}:train" in problems[0]
    _, problems = read(f"{folder}:tset")
    assert "no part 'tset'" in problems[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (json.dumps(PAIRS, indent=2)[:-60], "entry 6 (line"),
        (json.dumps({row["prompt"]: {"0": 1, "1": 2} for row in PAIRS}), 'orient="records"'),
        (json.dumps({"train": PAIRS, "test": PAIRS}), "FILE:train"),
        (json.dumps({"prompt": ["a", "b"], "completion": ["c", "d"]}), "columns and not rows"),
        ("\n".join(["{broken"] * 300), "and 290 more"),
        ("[1]\n[2]\n", "expected a JSON object"),
    ],
)
def test_what_is_wrong_with_json_is_told_in_few_lines(tmp_path, content, told):
    path = tmp_path / "a.json"
    path.write_text(content)
    _, problems = read(path)
    assert told in " ".join(problems)
    assert len(problems) <= 11


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.xlsx", b"PK\x03\x04rest", "Excel"),
        ("a.jsonl", b"BZh91AY", "bunzip2"),
        ("a.parquet", b"PAR1 and then nothing", "damaged Parquet"),
        ("a.jsonl.gz", gzip.compress(b'{"prompt": "a"}' * 90, mtime=0)[:-20], "damaged"),
        ("a.pkl", b"\x80\x04\x95", "pickle"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("notes.txt", b"Some prose.\nMore of it.", "plain text"),
        ("empty.jsonl", b"", "holds no items"),
    ],
)
def test_files_of_other_kinds_are_told_for_what_they_are(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    _, problems = read(tmp_path / name)
    assert len(problems) == 1
    assert told in problems[0]


def test_a_folder_without_images_says_nothing_of_the_model(tmp_path, tiny_folder, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.doc").write_text("x")
    code, told = check(capsys, tiny_folder, tmp_path / "data", "--held-out-text", tmp_path / "data")
    assert code == 2
    assert "no images" in told
    assert "model" not in told.replace("no model", "")


def test_images_in_folders_of_splits_are_found(tmp_path):
    write_images(tmp_path / "pets" / "train", 2)
    write_images(tmp_path / "pets" / "test", 1)
    assert len(read(tmp_path / "pets", obvious="train")[0]) == 6
    assert len(read(f"{tmp_path / 'pets'}:test")[0]) == 3


def test_a_missing_file_is_no_data_set_id_and_near_names_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_jsonl(tmp_path / "data" / "train.jsonl", PAIRS)
    for source in ("data/trian.jsonl", "./data/train.json", "data/train", str(tmp_path / "data" / "train.csv")):
        _, problems = read(source)
        assert "no such file" in problems[0]
        assert "data/train.jsonl" in problems[0]
    _, problems = read("nowhere/at/all.parquet")
    assert "there is no folder nowhere/at" in problems[0]
    assert "data set" not in problems[0]


ALPACA = {"instruction": "Name a river.", "input": "", "output": "The Rhine."}


@pytest.mark.parametrize(
    ("row", "prompt", "completion"),
    [
        (ALPACA, "### Instruction:\nName a river.\n\n### Response:\n", "The Rhine."),
        ({**ALPACA, "input": "In Asia"}, "### Input:\nIn Asia\n\n### Response:\n", "The Rhine."),
        ({"instruction": "Name a river.", "context": "", "response": "Elbe", "category": "x"}, "Response:\n", "Elbe"),
        ({"conversations": TURNS}, "user: Say a.", "assistant: a"),
        ({"conversations": TURNS, "system": "Be brief."}, "system: Be brief.\nuser: Say a.", "assistant: a"),
        ({"messages": TURNS, "id": 3}, "user: Say a.", "assistant: a"),
        ({"conversation": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "user: x", "y"),
    ],
)
def test_alpaca_dolly_and_sharegpt_rows_are_learned(tmp_path, row, prompt, completion):
    (item,), problems = read(write_jsonl(tmp_path / "a.jsonl", [row]))
    assert problems == []
    assert item.prompt_text.endswith(prompt)
    assert item.completion_text.endswith(completion)


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}, 1),
        ({"question_stem": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "1"}, 0),
        ({"question": "q", "choices": ["x", "y", "z"], "answer": "C"}, 2),
        ({"question": "q", "choices": ["x", "y"], "answer": "x"}, 0),
        ({"question": "q", "choices": ["x", "y", "z"], "answer": "2"}, 2),  # HellaSwag writes the index as text
        ({"question": "q", "choices": ["x", "y", "z"], "answer": "(b)"}, 1),
        ({"question": "q", "choices": {"A": "x", "B": "y"}, "answer": "B"}, 1),
        ({"question": "q", "choices": {"text": ["3", "2"], "label": ["2", "3"]}, "answerKey": "2"}, 0),
        ({"question": "q", "choices": ["x", "y"], "answerKey": "B"}, 1),
    ],
)
def test_choices_with_letters_are_asked(tmp_path, row, answer):
    (item,), problems = read(write_jsonl(tmp_path / "a.jsonl", [row]))
    assert (problems, item.question, item.answer) == ([], "q", answer)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"conversations": [*TURNS, {"from": "human", "value": "And?"}]}, 'role "assistant"'),
        ({"conversations": [{"from": "narrator", "value": "x"}, *TURNS]}, "turn 1 is from 'narrator'"),
        ({**ALPACA, "history": [["a", "b"]]}, '"history"'),
        ({"question": "q", "choices": ["x", "y"], "answer": "D"}, "none of the choices"),
        ({"question": "q", "choices": {"A": "x", "B": ["y"]}, "answer": "B"}, 'or {"A": …, "B": …}'),
        ({"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "A"]}, "answerKey": "A"}, "same label"),
        ({"question": "q", "choices": ["x", "x "], "answer": 0}, "two choices are the same text"),
        ({"question": "q", "choices": ["1", "2", "3"], "answer": "2"}, "which is meant"),
        ({"question": "Where?", "context": "In Rome.", "answers": {"text": ["Rome"], "answer_start": [3]}}, "context"),
    ],
)
def test_what_of_known_shapes_cannot_be_read_is_told(tmp_path, row, told):
    _, problems = read(write_jsonl(tmp_path / "a.jsonl", [row]))
    assert len(problems) == 1
    assert told in problems[0]


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"question": "q", "answer": "a"}, "prompt=question,completion=answer"),
        ({"query": "q", "response": "a"}, "prompt=query,completion=response"),
        ({"text": "long", "summary": "short"}, "prompt=text,completion=summary"),
        ({"Text": "fine", "Label": "a"}, "text=Text,label=Label"),
        ({"ctx": "q", "endings": ["x", "y"], "label": "1"}, "question=ctx,choices=endings,answer=label"),
        (
            {"question": "q", "options": {"A": "x", "B": "y"}, "answer_idx": "B", "answer": "y"},
            "choices=options,answer=answer_idx",
        ),
        ({"review": "fine", "sentiment": "pos"}, "text=review,label=sentiment"),
        ({"sentence1": "a", "sentence2": "b", "label": 1}, "text=sentence1,text_pair=sentence2"),
        ({"dialog": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages=dialog"),
    ],
)
def test_other_columns_are_told_what_to_rename_and_the_cure_works(tmp_path, row, columns):
    path = write_jsonl(tmp_path / "a.jsonl", [row, row])
    _, (problem,) = read(path)
    assert f"--columns {columns}" in problem
    items, problems = read(f"{path}::{columns}")
    assert (problems, len(items)) == ([], 2)


def test_columns_are_a_flag_and_part_of_the_recipe(tmp_path, tiny_folder, capsys):
    train = write_jsonl(tmp_path / "a.jsonl", [{"q": row["prompt"], "a": row["completion"]} for row in PAIRS])
    test = write_jsonl(tmp_path / "t.jsonl", [{"q": f"z{n}", "a": " z"} for n in range(3)])
    code, told = check(capsys, tiny_folder, train, "--test", test, "--columns", "prompt=q,completion=a")
    assert (code, "on 6 training examples" in told) == (0, True), told
    code, told = check(capsys, tiny_folder, train, "--test", test, "--columns", "prompt=Q,completion=a")
    assert (code, "no row has 'Q' (they have q, a)" in told) == (2, True), told
    code, told = check(capsys, tiny_folder, train, "--test", test, "--columns", "prompt")
    assert (code, "no NEW=OLD" in told) == (2, True), told


def test_two_suites_of_one_name_are_told_the_cure(tmp_path, tiny_folder, tiny_data, capsys):
    (tmp_path / "other").mkdir()
    rows = [{"question": f"word{n} and", "choices": ["a", "b"], "answer": 0} for n in range(20)]
    twin = write_jsonl(tmp_path / "other" / "letters.jsonl", rows)
    train = tiny_data / "train.jsonl"
    code, told = check(capsys, tiny_folder, train, "--keep", tiny_data / "letters.jsonl", twin)
    assert (code, "NAME:=SOURCE" in told) == (2, True)
    code, told = check(capsys, tiny_folder, train, "--keep", tiny_data / "letters.jsonl", f"mine:={twin}")
    assert code == 0, told


def test_a_name_before_a_file_is_told_how_to_write_it(tmp_path):
    path = write_jsonl(tmp_path / "q.jsonl", [{"question": f"q{n}", "answers": ["a"]} for n in range(9)])
    for source, told in ((f"mine={path}", f"a name of your own is mine:={path}"), (f":={path}", "no name before :=")):
        problems = []
        as_suite(source, "keep", problems)
        assert told in problems[0]
    problems = []
    assert as_suite(f"mine:={path}", "keep", problems).name == "mine"
    read_text(f"mine={path}", problems)
    assert len(problems) == 1
    assert f"mine:={path}" in problems[0]


def test_questions_are_texts_to_calibrate_on(tmp_path):
    path = write_jsonl(tmp_path / "q.jsonl", [{"question": "Whose? ", "answers": ["Ours", "mine"]}])
    problems = []
    assert [item.text for item in read_calibration_texts(str(path), problems)] == ["Whose? Ours"]
    assert problems == []


def test_keys_that_arrow_fills_in_are_not_there(tmp_path):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "note": "kept"}]
    datasets.Dataset.from_list([{"messages": turns}]).to_parquet(tmp_path / "a.parquet")
    (item,), problems = read(tmp_path / "a.parquet")
    assert problems == []
    assert [sorted(dict(turn)) for turn in (*item.prompt, *item.completion)] == [
        ["content", "role"],
        ["content", "note", "role"],
    ]


def test_conversations_in_a_cell_of_a_table_are_read(tmp_path):
    cell = json.dumps([{"role": "user", "content": "a, b"}, {"role": "assistant", "content": "c"}]).replace('"', '""')
    (tmp_path / "a.csv").write_text(f'messages,id\n"{cell}",1\n"[{{broken",2\n')
    (item,), problems = read(tmp_path / "a.csv")
    assert item.prompt_text == "user: a, b"
    assert [("line 3" in problem, "no JSON" in problem) for problem in problems] == [(True, True)]


def test_devices_and_pipes_are_refused_at_once():
    for source in ("/dev/zero", "/dev/null"):
        _, problems = read(source)
        assert "no file but a device" in problems[0]


def test_a_suite_that_is_a_file_without_its_ending_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "facts.jsonl", PAIRS)
    problems = []
    as_suite("facts", "keep", problems)
    assert "there is a file facts.jsonl" in problems[0]
