"""Rows of JSON as people save them: a row a line, one list, an object that holds the list, rows one below the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from retain.data.entries import Entries, Indices
from retain.data.places import Numbered
from retain.records.reading import Doubled, DoubledKeyError, decode_json, doubled_clause

HOLDERS = (
    *("data", "rows", "examples", "items", "instances", "records", "samples"),
    *("train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval"),
)
"""Keys under which an object holds its rows."""

_SPACE = re.compile(r"[ \t\r\n]*")


def json_entries(text: str, split: str | None, problems: list[str]) -> Entries:
    """The rows of a JSON text, each with its place in it; only rows that are a line each are told apart unread.

    Args:
        text: the content of a file.
        split: the key that holds the rows, where an object has several.
        problems: receives a clause for each row that cannot be read, with its place.
    """
    start = _skip_space(text, 0)
    if text.startswith("[", start) and _is_list_of_rows(text, start):
        return Entries.of(_listed(text, start, problems))
    whole = _whole_object(text, start)
    if whole is not None and (holders := _holders(whole)):
        return Entries.of(_held(whole, holders, split, problems))
    if split is not None:
        problems.append(f"it has no part {split!r}; leave :{split} away")
    elif whole is not None and (reason := _columns_reason(whole)):
        problems.append(reason)
    elif _row_a_line(text, start):
        return _lines(text, problems)
    else:
        return Entries.of(_sequence(text, start, problems))
    return Entries.of(())


def _lines(text: str, problems: list[str]) -> Entries:
    """JSON Lines; a line that cannot be read does not stop the others."""
    lines = list(_numbered_lines(text))

    def rows(chosen: Indices) -> Iterator[Numbered]:
        for number, line in lines if chosen is None else (lines[index] for index in chosen):
            try:
                row, end = decode_json(line, _skip_space(line, 0))
                if _skip_space(line, end) != len(line):
                    raise ValueError(_surplus(line[end:]))
            except ValueError as error:
                problems.append(f"line {number}: {_clause(error)}")
            else:
                yield f"line {number}", row

    return Entries(len(lines), lambda: [len(line) for _, line in lines], rows)


def _numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that hold anything, each with its end and its number from 1."""
    number, start = 0, 0
    while start < len(text):
        number, end = number + 1, text.find("\n", start) + 1 or len(text)
        if (line := text[start:end]).strip(" \t\r\n"):
            yield number, line
        start = end


def _listed(text: str, start: int, problems: list[str]) -> Iterator[Numbered]:
    """The entries of one list, read one by one, so that a broken one is found by its number and line."""
    at, line, counted = _skip_space(text, start + 1), 1, 0
    number = 0
    while not text.startswith("]", at):
        number += 1
        line, counted = line + text.count("\n", counted, at), at
        place = f"entry {number} (line {line})"
        rows, end = _one(text, at, place, problems)
        yield from rows
        if end is None:
            return
        at = _skip_space(text, end)
        if text.startswith(",", at):
            at = _skip_space(text, at + 1)
        elif not text.startswith("]", at):
            problems.append(
                f"{place}: the list breaks off behind it" if at == len(text) else f"{place}: no comma behind"
            )
            return
    if _skip_space(text, at + 1) != len(text):
        problems.append(f"something stands behind the list that ends in line {line + text.count(chr(10), counted, at)}")


def _sequence(text: str, at: int, problems: list[str]) -> Iterator[Numbered]:
    """Values one below the other, each over several lines, as `jq` prints them."""
    line, counted = 1, 0
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        rows, end = _one(text, at, f"line {line}", problems)
        yield from rows
        if end is None:
            return
        at = _skip_space(text, end)


def _one(text: str, at: int, place: str, problems: list[str]) -> tuple[list[Numbered], int | None]:
    """The row that begins somewhere, none where it cannot be used, and where it ends, which may be unknown then."""
    try:
        row, end = decode_json(text, at)
    except DoubledKeyError as error:
        problems.append(f"{place}: {_clause(error)}")
        return [], decode_json(text, at, doubled=True)[1]
    except ValueError as error:
        problems.append(f"{place}: {_clause(error)}")
        return [], None
    return [(place, row)], end


def _clause(error: ValueError) -> str:
    return f"{error}; leave one out" if isinstance(error, DoubledKeyError) else f"is no JSON ({error})"


def _held(whole: dict[str, Any], holders: list[str], split: str | None, problems: list[str]) -> Iterator[Numbered]:
    if isinstance(whole, Doubled):
        problems.append(f"{whole.twice}; leave one out")
    elif split is not None and split not in holders:
        problems.append(f"it has no part {split!r}; it holds {', '.join(holders)}")
    elif split is None and len(holders) > 1:
        problems.append(f"it holds {', '.join(holders)}; say which, as FILE:{holders[0]}")
    else:
        name = split or holders[0]
        for number, row in enumerate(whole[name], start=1):
            place = f"{name}, entry {number}"
            if clause := doubled_clause(row):
                problems.append(f"{place}: {clause}; leave one out")
            else:
                yield place, row


def _holders(whole: dict[str, Any]) -> list[str]:
    """The keys of an object that hold its rows."""
    return [
        key
        for key, value in whole.items()
        if key.lower() in HOLDERS and isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    ]


def _columns_reason(whole: dict[str, Any]) -> str:
    """A clause for an object of columns, as pandas writes by default; nothing for an object that may be a row."""
    by_number = [isinstance(value, dict) and value and all(key.isdigit() for key in value) for value in whole.values()]
    lists = [isinstance(value, list) and not any(isinstance(part, dict) for part in value) for value in whole.values()]
    if whole and (all(by_number) or (all(lists) and len({len(value) for value in whole.values()}) == 1)):
        return (
            "it holds columns and not rows, as pandas writes them by default; save it by "
            'to_json(..., orient="records", lines=True)'
        )
    return ""


def _whole_object(text: str, start: int) -> dict[str, Any] | None:
    """The one object that a text is, or None where it is anything else."""
    try:
        value, end = decode_json(text, start, doubled=True)
    except ValueError:
        return None
    return value if isinstance(value, dict) and _skip_space(text, end) == len(text) else None


def _is_list_of_rows(text: str, start: int) -> bool:
    """True for a list of rows, also a broken one; false for lines that are lists each."""
    if not text.startswith(("{", "]"), _skip_space(text, start + 1)):
        return False
    try:
        decode_json(_first_line(text, start), doubled=True)
    except ValueError:
        return True
    return _skip_space(text, start + len(_first_line(text, start))) == len(text)


def _row_a_line(text: str, start: int) -> bool:
    """True unless the first line is only the beginning of a value that ends further below."""
    line = _first_line(text, start)
    try:
        _, end = decode_json(line, doubled=True)
    except ValueError:
        try:
            _, end = decode_json(text, start, doubled=True)
        except ValueError:
            return line.strip() not in ("{", "[")
        return False
    return "\r" not in line[end:].strip(" \t\r\n")


def _first_line(text: str, start: int) -> str:
    end = text.find("\n", start)
    return text[start:] if end < 0 else text[start:end]


def _skip_space(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too


def _surplus(rest: str) -> str:
    return "a comma ends it; leave it out" if rest.strip() == "," else f"then comes {rest.strip()[:20]!r}"
