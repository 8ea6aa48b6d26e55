"""JSON and YAML from damaged and hostile files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from retain.errors import InputError
from retain.records.reading import DEEPEST, parse_json, parse_yaml, read_json, read_json_mapping, read_model, read_yaml

HOSTILE_JSON = {
    "nested deeply": "[" * 100_000 + "]" * 100_000,
    "nested a little too deeply": "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
    "objects nested": '{"a":' * 500 + "1" + "}" * 500,
    "5,000 digits": '{"a": ' + "9" * 5_000 + "}",
    "60 digits": "-" + "9" * 60,
    "a lone surrogate": '{"a": "\\ud800"}',
    "a lone surrogate as key": '{"\\udfff": 1}',
    "NaN": '{"a": NaN}',
    "infinity": "[-Infinity]",
    "cut off": '{"a": 1',
    "nothing": "",
    "no UTF-8": b"\xff\xfe{\x00}\x00",
}


@pytest.mark.parametrize("content", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_hostile_json_is_one_sentence_that_names_the_place(content: str | bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_json(content, "run.json")
    (problem,) = caught.value.problems
    assert problem.startswith("run.json: ")
    assert len(problem) < 300


def test_json_of_every_kind_is_read_as_it_is() -> None:
    value = parse_json('{"a": [1, -2.5, true, null, "\\u00e4\\ud83d\\ude00"], "b": {"c": 18446744073709551616}}', "x")
    assert value == {"a": [1, -2.5, True, None, "ä😀"], "b": {"c": 2**64}}
    assert parse_json("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1), "x")


HOSTILE_YAML = {
    "nested deeply": "[" * 3_000 + "]" * 3_000,
    "billion laughs": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "an alias of itself": "a: &a [*a]",
    "an object": "a: !!python/object/apply:os.system ['true']",
    "a key twice": "a: 1\nb: 2\na: 3",
    "an inner key twice": "x:\n  a: 1\n  a: 1",
    "5,000 digits": "a: " + "9" * 5_000,
    "two documents": "a: 1\n---\na: 2",
    "a list as key": "[a, b]: 1",
    "cut off": "a: [1, 2",
    "a lone surrogate": 'a: "\\ud800"',
    "no UTF-8": b"a: \xff",
}


@pytest.mark.parametrize("content", HOSTILE_YAML.values(), ids=HOSTILE_YAML)
def test_hostile_yaml_is_one_sentence_that_names_the_place(content: str | bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(content, "recipe.yaml")
    (problem,) = caught.value.problems
    assert problem.startswith("recipe.yaml: ")


def test_yaml_of_every_kind_is_read_as_safe_yaml_reads_it() -> None:
    text = "a: &a [1, 2]\nb: *a\nc: {d: 1.5, e: yes}\nf: 0x10\nbase: &b {k: 1}\nmore:\n  <<: *b\n  l: 2\n"
    expected = {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 1.5, "e": True},
        "f": 16,
        "base": {"k": 1},
        "more": {"k": 1, "l": 2},
    }
    assert parse_yaml(text, "x") == expected
    assert parse_yaml(b"\xef\xbb\xbfa: 1", "x") == {"a": 1}
    assert parse_yaml("", "x") is None


NUMBERS_OR_TEXT = {
    "1e-3": 1e-3, "1E5": 1e5, "-2.5e+1": -25.0, "1.": 1.0, ".5": 0.5, "-.inf": float("-inf"), "1_000": 1000, "0x1F": 31,
    "0o17": 15, "-7": -7, "0": 0, "010": "010", "007": "007", "1:30": "1:30", "20:30:59": "20:30:59", "190:20:30.15":
    "190:20:30.15", "2026-11-28": "2026-11-28", "2026-11-28 10:00:00": "2026-11-28 10:00:00", "0b11": "0b11",
    "1e": "1e", "e5": "e5", "1.2.3": "1.2.3", "09": "09", "_1": "_1", "+": "+", "-": None,
}  # fmt: skip


@pytest.mark.parametrize(("written", "value"), NUMBERS_OR_TEXT.items(), ids=NUMBERS_OR_TEXT)
def test_numbers_of_yaml_are_those_that_people_mean(written: str, value: object) -> None:
    (found,) = parse_yaml(f"[{written}]", "x") if written != "-" else parse_yaml("-", "x")
    assert found == value
    assert type(found) is type(value)


class _Record(BaseModel):
    steps: int


def test_files_that_are_missing_too_large_or_of_another_shape_are_told(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    for read in (read_json, read_json_mapping, read_yaml, lambda path: read_model(path, _Record)):
        with pytest.raises(InputError, match="cannot be read"):
            read(file)
    file.write_text("[1, 2]")
    assert read_json(file) == [1, 2]
    with pytest.raises(InputError, match="expected a JSON object, found list"):
        read_json_mapping(file)
    with pytest.raises(InputError, match="at most 3 are read"):
        read_json(file, most_bytes=3)
    file.write_text('{"steps": "many"}')
    with pytest.raises(InputError, match=r"r.json: steps: "):
        read_model(file, _Record)
    file.write_text('{"steps": 3}')
    assert read_model(file, _Record) == _Record(steps=3)
