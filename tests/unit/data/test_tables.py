"""Tables: whatever a writer of tables writes is read back, or its shape is told."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.data.tables import first_fields, looks_like_table, table_rows

CELL = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)


def read(text, name="a.csv"):
    problems = []
    return list(table_rows(text, name, problems)), problems


def written(rows, **dialect):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n", **dialect).writerows([["text", "label"], *rows])
    return file.getvalue()


@settings(max_examples=60)
@given(st.lists(st.tuples(CELL, st.sampled_from(["x", "y"])), min_size=4, max_size=12), st.sampled_from(",;\t|"))
def test_what_a_writer_writes_is_read_back(rows, separator):
    found, problems = read(written(rows, delimiter=separator))
    assert problems == []
    assert [row for _, row in found] == [
        {key: value for key, value in (("text", a), ("label", b)) if value} for a, b in rows
    ]


@settings(max_examples=60)
@given(st.lists(st.tuples(CELL, st.sampled_from(["x", "y"])), min_size=4, max_size=12))
def test_quoting_everything_changes_nothing(rows):
    assert read(written(rows, quoting=csv.QUOTE_ALL)) == read(written(rows))


@settings(max_examples=80)
@given(st.data())
def test_one_quote_put_anywhere_loses_no_row_in_silence(data):
    lines = [f"word{number} a,{'xy'[number % 2]}" for number in range(30)]
    index = data.draw(st.integers(0, 29))
    place = data.draw(st.integers(0, len(lines[index])))
    lines[index] = f'{lines[index][:place]}"{lines[index][place:]}'
    found, problems = read("text,label\n" + "\n".join(lines))
    assert len(found) == 30 or problems


def test_places_are_lines_of_the_file():
    found, _ = read('sep=;\n\ntext;label\n"a\nb c";x\n\nd;y\n')
    assert [place for place, _ in found] == ["lines 4 to 5", "line 7"]


@pytest.mark.parametrize(
    ("text", "known"),
    [("text,label\n", True), ("text;label", True), ('{"a": 1}', False), ("One, two!", False), ("a", False)],
)
def test_a_header_is_names_alone(text, known):
    assert looks_like_table(text) == known


def test_the_first_fields_are_seen_with_their_separator():
    assert first_fields("a\tb, c\n1\t2\n", "a.tsv") == ["a", "b, c"]
