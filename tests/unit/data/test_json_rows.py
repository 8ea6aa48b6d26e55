"""Rows of JSON in every layout, with their places; what is broken stops as little as it can."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.data.json_rows import json_entries

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["prompt", "completion", "x"]), VALUE, min_size=1), min_size=2, max_size=5
)


def read(text, split=None):
    problems = []
    return list(json_entries(text, split, problems).rows(None)), problems


@settings(max_examples=80)
@given(ROWS, st.sampled_from([None, 1, 4]), st.sampled_from(["lines", "list", "held", "printed"]))
def test_every_layout_gives_the_same_rows(rows, indent, layout):
    if layout == "lines":
        text = "\r\n".join(json.dumps(row) for row in rows)
    elif layout == "printed":
        text = "\n".join(json.dumps(row, indent=2) for row in rows)
    else:
        text = json.dumps(rows if layout == "list" else {"data": rows, "version": 2}, indent=indent)
    found, problems = read(text)
    assert problems == []
    assert [row for _, row in found] == rows


def test_places_are_lines_or_entries():
    assert [place for place, _ in read('{"a": 1}\n\n{"a": 2}\n')[0]] == ["line 1", "line 3"]
    assert [place for place, _ in read('[\n {"a": 1},\n\n {"a": 2}\n]')[0]] == ["entry 1 (line 2)", "entry 2 (line 4)"]
    assert [place for place, _ in read('{"rows": [{"a": 1}]}')[0]] == ["rows, entry 1"]


@pytest.mark.parametrize(
    ("text", "rows", "told"),
    [
        ('{"a": 1}\n{"a": }\n{"a": 3}', 2, "line 2: is no JSON"),
        ('{"a": 1},\n{"a": 2}', 1, "a comma ends it"),
        ('[{"a": 1}, {"a": 2', 1, "entry 2 (line 1): is no JSON"),
        ('[{"a": 1}, {"a": 2}', 2, "breaks off"),
        ('[{"a": 1} {"a": 2}]', 1, "no comma"),
        ('[{"a": 1}]\nrest', 1, "line 2: is no JSON"),
        ('[\n{"a": 1}\n]\nrest', 1, "behind the list"),
        ('{"a": NaN}\n{"a": 2}', 1, "NaN is no number"),
        ('{"a": ' + "9" * 50 + '}\n{"a": 2}', 1, "a number of 50 digits"),
        ('{"a": 1}\n{"a": ' + "[" * 5000 + "]" * 5000 + "}", 1, "levels deep"),
        ('{"train": [{"a": 1}], "test": [{"a": 2}]}', 0, "train, test"),
    ],
)
def test_what_is_broken_is_told_and_the_rest_is_read(text, rows, told):
    found, problems = read(text)
    assert (len(found), len(problems)) == (rows, 1)
    assert told in problems[0]


def test_a_part_is_taken_by_its_name_and_an_unknown_one_is_told():
    assert [row for _, row in read('{"train": [{"a": 1}], "test": [{"a": 2}]}', "test")[0]] == [{"a": 2}]
    assert "no part 'dev'" in read('{"train": [{"a": 1}]}', "dev")[1][0]
    assert "no part 'dev'" in read('{"a": 1}\n{"a": 2}', "dev")[1][0]
