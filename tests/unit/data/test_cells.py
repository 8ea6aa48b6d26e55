"""Lists that stand in one cell of a table: those of JSON are read, those that Python printed are told."""

import json

import pytest

from retain.data.forms import LEARNED, read_rows

ASKED, SAID = {"role": "user", "content": "It's 5 o'clock"}, {"role": "assistant", "content": "Then it is tea"}


@pytest.fixture
def read(tmp_path):
    def read(row, write):
        cells = {name: value if isinstance(value, str) else write(value) for name, value in row.items()}
        path = tmp_path / "rows.csv"
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells.values()]
        path.write_text(f"{','.join(cells)}\n{','.join(quoted)}\n", encoding="utf-8")
        problems: list[str] = []
        return read_rows(str(path), problems, forms=LEARNED).items, problems

    return read


ROWS = {
    "messages": {"messages": [ASKED, SAID]},
    "ShareGPT": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    "prompt": {"prompt": [ASKED], "completion": [SAID]},
    "choices": {"question": "q", "choices": ["one", "two"], "answer": "0"},
    "ARC": {"question": "q", "choices": {"text": ["one", "two"], "label": ["A", "B"]}, "answerKey": "B"},
    "answers": {"question": "q", "answers": ["one", "two"]},
}


@pytest.mark.parametrize("name", ROWS)
def test_json_in_a_cell_is_what_it_says(read, name, tmp_path):
    (item,), problems = read(ROWS[name], json.dumps)
    assert not problems
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[name]) + "\n", encoding="utf-8")
    assert [item] == read_rows(str(path), [], forms=LEARNED).items


@pytest.mark.parametrize("name", ROWS)
def test_what_python_printed_is_told(read, name):
    items, problems = read(ROWS[name], repr)
    assert not items
    assert "as Python prints lists; save the table as JSONL" in problems[0]


def test_what_stands_behind_a_list_is_told(read):
    _, problems = read({"messages": json.dumps([ASKED, SAID]) + " and so on"}, str)
    assert "something stands behind the JSON" in problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2, 3]",
        "['a', 'b']",
        "[link](there)",
        "{'a': 1}",
        '[{"name": "f"}]',
        '[{"value": 3, "unit": "kg"}]',
        '[{"from": "Oslo", "to": "Rome"}]',
        "[{'content': 'tea', 'role': 'a drink'}]",
        f"{json.dumps([ASKED, SAID])} is what was said",
    ],
)
def test_brackets_in_a_completion_are_text(read, text):
    (item,), problems = read({"prompt": "[INST] Write a list", "completion": text}, str)
    assert (item.prompt, item.completion) == ("[INST] Write a list", text)
    assert not problems


def test_brackets_in_an_answer_are_text(read):
    (item,), _ = read({"question": "q", "answers": "[0, 1]"}, str)
    assert item.answers == ("[0, 1]",)
