"""`retain check` on more training rows than it reads: which it reads, what it says, what tune still finds."""

import csv
import gzip
import json
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, parquet

from retain.cli.main import main
from retain.data.entries import characters_of
from retain.data.forms import read_rows
from retain.data.row_limit import RowLimit
from tiny import WORDS, write_jsonl

MOST, ROWS, LONGEST = 20, 100, 37
FEW = RowLimit(MOST)


def rows_of_text(count=ROWS):
    rows = [{"prompt": f"question {n:03}", "completion": " word1"} for n in range(count)]
    rows[LONGEST % count]["prompt"] += " z" * 40
    return rows


def as_jsonl(path, rows):
    text = "".join(json.dumps(row) + "\n" + "\n" * (n % 3) for n, row in enumerate(rows))
    path.write_text(text, encoding="utf-8")


def as_gzip(path, rows):
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))


def as_table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def as_shards(path, rows):
    path.mkdir()
    for number in range(4):
        write_jsonl(path / f"train-{number:05}-of-00004.jsonl", rows[number * len(rows) // 4 :][: len(rows) // 4])


FORMS = {
    "jsonl": as_jsonl,
    "gzip": as_gzip,
    "list": lambda path, rows: path.write_text(json.dumps(rows), encoding="utf-8"),
    "held": lambda path, rows: path.write_text(json.dumps({"data": rows}), encoding="utf-8"),
    "below": lambda path, rows: path.write_text("\n".join(json.dumps(row, indent=1) for row in rows), encoding="utf-8"),
    "csv": as_table,
    "parquet": lambda path, rows: parquet.write_table(pa.Table.from_pylist(rows), path),
    "arrow": lambda path, rows: feather.write_feather(pa.Table.from_pylist(rows), path, compression="uncompressed"),
    "shards": as_shards,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_longest_the_first_and_the_last_row_and_others_evenly_between_are_read(form, tmp_path):
    FORMS[form](tmp_path / "data", rows_of_text())
    problems: list[str] = []
    rows = read_rows(str(tmp_path / "data"), problems, limit=FEW)
    assert (problems, rows.sample.total) == ([], ROWS)
    numbers = list(rows.sample.numbers)
    assert [int(item.prompt.split()[1]) for item in rows.items] == numbers
    assert len(numbers) == MOST
    assert {0, LONGEST, ROWS - 1} <= set(numbers)
    assert max(later - number for number, later in pairwise(numbers)) <= 2 * ROWS // (MOST // 2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [MOST - 4, MOST])
def test_of_no_more_rows_than_are_read_nothing_is_left_out(form, count, tmp_path):
    FORMS[form](tmp_path / "data", rows_of_text(count))
    rows = read_rows(str(tmp_path / "data"), [], limit=FEW)
    assert rows == read_rows(str(tmp_path / "data"), [])
    assert (rows.sample, len(rows.items)) == (None, count)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=80), st.integers(2, 30))
def test_a_choice_is_as_large_as_asked_and_holds_first_last_and_longest(sizes, most):
    chosen = RowLimit(most).chosen(sizes)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(most, len(sizes))
    if most >= 4:
        assert {0, len(sizes) - 1} <= set(chosen)
    assert max(sizes) in [sizes[index] for index in chosen]


def test_texts_within_turns_are_counted_in_columns_as_in_values(tmp_path):
    from datasets import Dataset

    from retain.data.arrow_sizes import sizes_of

    turns = [[{"role": "user", "content": "é" * n}, {"role": "assistant", "content": None}] for n in range(5)]
    rows = [{"messages": turns[n] if n else None, "tags": ["ab"] * n, "id": n} for n in range(5)]
    rows[3]["messages"] = []
    data = Dataset.from_list(rows)
    assert sizes_of(data) == [characters_of(row) for row in rows]
    assert sizes_of(data.select([4, 1])) == [characters_of(rows[n]) for n in (4, 1)]


def test_the_first_row_of_each_class_is_read(tmp_path):
    rows = [{"text": f"text {n}", "label": "rare" if n == 50 else n % 2} for n in range(ROWS)]
    for name, form in (("a.jsonl", as_jsonl), ("b.parquet", FORMS["parquet"]), ("c.csv", as_table)):
        form(tmp_path / name, [{**row, "label": str(row["label"])} for row in rows])
        found = read_rows(str(tmp_path / name), [], limit=FEW)
        assert {item.label for item in found.items} == {"rare", "0", "1"}
        assert found.items[list(found.sample.numbers).index(50)].text == "text 50"
        assert len(found.items) <= MOST + 3


def called(verb, tiny_folder, path, train, *more):
    test = write_jsonl(path / "test.jsonl", [{"prompt": f"z{n} z", "completion": " z"} for n in range(3)])
    words = ["--model", tiny_folder, "--train", train, "--test", test, "--method", "lora", "--output", path / "o"]
    return main([verb, *map(str, words), *more])


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr("retain.cli.check.MOST_ROWS", MOST)


def test_check_says_what_it_read_and_counts_all(few, tiny_folder, tmp_path, capsys):
    rows = [{"prompt": f"{WORDS[n % 26]} {WORDS[n // 26]} {n}", "completion": " word1"} for n in range(ROWS)]
    rows[0] = rows[-1]
    train = write_jsonl(tmp_path / "train.jsonl", rows)
    assert called("check", tiny_folder, tmp_path, train, "--batch-size", "64") == 0
    told = capsys.readouterr().out
    assert "on 100 training examples" in told
    assert "train: 20 of 100 rows were read, the longest and others evenly spread; `tune` reads all of them" in told
    assert "train: lengths of 20 of 100 rows were looked at" in told
    assert "train, of the rows read: 20 rows are 19 distinct rows" in told
    assert "fewer than one batch" not in told
    assert called("check", tiny_folder, tmp_path, train, "--batch-size", "200") == 0
    assert "train: 100 rows are fewer than one batch of 200" in capsys.readouterr().out


def test_near_duplicates_are_told_by_their_number_among_all(few, tiny_folder, tmp_path, capsys):
    rows = rows_of_text()
    rows[-1]["prompt"] = "the council met on tuesday to discuss the new bridge over the river"
    test = write_jsonl(tmp_path / "test.jsonl", [{**rows[-1], "prompt": rows[-1]["prompt"] + " again"}] * 2)
    train = write_jsonl(tmp_path / "train.jsonl", rows)
    words = ["--model", tiny_folder, "--train", train, "--test", test, "--method", "lora", "--output", tmp_path / "o"]
    assert main(["check", *map(str, words)]) == 0
    told = capsys.readouterr().out
    assert "train, of the rows read: 2 of 2 items of test nearly repeat" in told
    assert "the training item 100 " in told


def test_a_broken_row_is_told_where_it_is_read_and_refused_by_tune_anywhere(few, tiny_folder, tmp_path, capsys):
    lines = [json.dumps({"prompt": f"question {n:03}", "completion": " word1"}) for n in range(ROWS)]
    train = tmp_path / "train.jsonl"
    numbers = read_rows(str(write_jsonl(train, map(json.loads, lines))), [], limit=FEW).sample.numbers
    unread = next(number for number in range(50, ROWS) if number not in numbers)
    broken = '{"prompt": "questi'
    train.write_text("\n".join([*lines[:unread], broken, *lines[unread + 1 :]]), encoding="utf-8")
    assert called("check", tiny_folder, tmp_path, train) == 0
    assert "20 of 100 rows were read" in capsys.readouterr().out
    assert called("tune", tiny_folder, tmp_path, train) == 2
    assert f"line {unread + 1}: is no JSON" in capsys.readouterr().err
    train.write_text("\n".join([*lines[:-1], broken]), encoding="utf-8")
    assert called("check", tiny_folder, tmp_path, train) == 2
    told = capsys.readouterr().err
    assert "line 100: is no JSON" in told
    assert "20 of 100 rows were read" in told
