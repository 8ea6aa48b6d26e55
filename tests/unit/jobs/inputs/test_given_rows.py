"""Rows in memory, however they are held, are the rows of a list."""

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from retain.jobs.inputs.given import given_suites

ROWS = [{"text": f"a good film {number}", "label": number % 2} for number in range(4)]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
DATA = datasets.Dataset.from_list(ROWS)


class Counted(torch.utils.data.Dataset):
    """As torch's own examples: rows by their numbers, and no iterator."""

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, number):
        return ROWS[number]


class Frame:
    """A table of Polars, as far as it is asked: its columns are what it iterates over."""

    def __iter__(self):
        return iter(COLUMNS.values())

    def to_dicts(self):
        return ROWS


class Lazy:
    """One that was not read yet."""

    def collect(self):
        return Frame()


HELD = {
    "DataFrame": pd.DataFrame(ROWS),
    "categories": pd.DataFrame(ROWS).astype({"label": "category", "text": "string"}),
    "Dataset": DATA,
    "classes": DATA.cast_column("label", datasets.ClassLabel(names=["bad", "good"])),
    "formatted": DATA.with_format("pandas"),
    "stream": DATA.to_iterable_dataset(),
    "Arrow": pa.Table.from_pylist(ROWS),
    "columns": COLUMNS,
    "arrays": {name: np.array(values) for name, values in COLUMNS.items()},
    "Series": {name: pd.Series(values, index=list("wxyz")) for name, values in COLUMNS.items()},
    "generator": lambda: iter(ROWS),
    "counted": Counted(),
    "Polars": Frame(),
    "lazy Polars": Lazy(),
}


def read(part, data):
    problems: list[str] = []
    given = {"test": None, "keep": None, part: data}
    return given_suites(given["test"], given["keep"], None, problems).all, problems


@pytest.mark.parametrize("part", ["test", "keep"])
@pytest.mark.parametrize("held", HELD)
def test_rows_are_read_however_they_are_held(part, held):
    data = HELD[held]() if held == "generator" else HELD[held]
    (suite,), problems = read(part, data)
    assert not problems
    assert [(item.text, item.label) for item in suite.items] == [(row["text"], str(row["label"])) for row in ROWS]


def test_of_several_splits_the_test_is_measured_or_one_is_asked_for():
    other = DATA.select(range(2))
    (suite,), problems = read("test", datasets.DatasetDict({"train": other, "test": DATA}))
    assert len(suite.items) == len(ROWS)
    assert not problems
    assert len(read("test", datasets.DatasetDict({"validation": DATA}))[0][0].items) == len(ROWS)
    _, problems = read("test", {"train": DATA, "dev": other})
    assert problems == ["task: it holds several splits (train, dev); give one, as data['train']."]
    assert [suite.name for suite in read("keep", datasets.DatasetDict({"a": DATA, "b": other}))[0]] == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (5, "int was given, and a path, a suite's name or rows are expected"),
        ({"text": ["a b", "c d"], "label": [1]}, "its columns are of unequal length (text 2, label 1)"),
        (pd.DataFrame([["a b", 1]]), "its rows have 0, 1."),
        (pd.DataFrame([["a", "b", 1]], columns=["text", "text", "label"]), "several columns of one name (text)"),
        (pa.Table.from_arrays([["a"], ["b"]], names=["text", "text"]), "several columns of one name (text)"),
        ([["a text", "another"]], "row 1: expected a JSON object, found list"),
        ([{"image": np.zeros((2, 2)), "label": 1}], "save one that is in memory as a file first"),
    ],
)
@pytest.mark.parametrize("part", ["test", "keep"])
def test_what_is_no_row_is_told_once(part, data, told):
    _, problems = read(part, data)
    assert told in problems[0]
    assert not any("holds no items" in problem for problem in problems)


def test_one_row_is_one_row():
    (suite,), problems = read("test", {"text": np.str_("a b"), "label": np.int64(1)})
    assert [(item.text, item.label) for item in suite.items] == [("a b", "1")]
    assert not problems


@pytest.mark.parametrize("part", ["test", "keep"])
def test_an_error_of_the_users_own_iterator_is_theirs(part):
    def rows():
        yield ROWS[0]
        raise ValueError("my own")

    with pytest.raises(ValueError, match="my own"):
        read(part, rows())
