"""Characters of files: bytes as text, and what no text may hold. One place, alike for every file, field and row.

A byte order mark is dropped at the start of a file, a line and a value. UTF-16 and UTF-32 are decoded where one names
them. Everything else that is not UTF-8 is refused with the line and the cure, and so are NUL characters and
halves of surrogate pairs, which Python's strings hold and UTF-8 cannot.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any

MOST_CHARACTERS = 10_000_000
"""The longest text of a row that is read; a tokenizer takes hundreds of times its size."""

MARK = "\ufeff"
"""The byte order mark as a character."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as the one of UTF-16 does, so it is asked for first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PROBED = 4096
_MARKED_LINE = re.compile(f"(?m)^{MARK}+")
_ESCAPED = re.compile(r"\\u(?:[dD][89a-fA-F]|[fF][eE][fF][fF]|0000)")
_SURROGATE = re.compile("[\ud800-\udfff]")


def decoded(content: bytes) -> str:
    """The text of a file's bytes, without byte order marks at the starts of its lines.

    Raises:
        ValueError: as a clause, which bytes are no text, in which line, and how to save the file.
    """
    mark, encoding = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", ""))
    if not encoding and _looks_wide(content[:_PROBED]):
        raise ValueError("its bytes look like UTF-16 without a byte order mark; save the file as UTF-8")
    try:
        text = content[len(mark) :].decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding not in ("", "utf-8"):
            raise ValueError(f"it begins as {encoding[:6].upper()} does, but is none ({error.reason})") from error
        raise ValueError(_not_utf8(content[len(mark) :], error.start)) from error
    return _MARKED_LINE.sub("", text) if MARK in text else text


def needs_care(text: str) -> bool:
    """True where a text, or JSON in it, may hold what no value may: then each value is looked at by `fit`."""
    return MARK in text or "\0" in text or _ESCAPED.search(text) is not None


def has_long_line(text: str) -> bool:
    """True where a line is too long for one text; a row of JSON stands in one line."""
    start = 0
    while len(text) - start > MOST_CHARACTERS:
        end = text.rfind("\n", start, start + MOST_CHARACTERS + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def fit_row(row: Any) -> Any:
    """A row whose keys and values are texts that any tokenizer and file can hold; see `fit_text`.

    Raises:
        ValueError: as a clause, the field and what is wrong with it.
    """
    return _fit(row, "")


def fit_text(text: str) -> str:
    """A text without byte order marks at its start.

    Raises:
        ValueError: as a clause, it is too long, or holds a NUL character or half of a surrogate pair.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"has {len(text):,} characters, and at most {MOST_CHARACTERS:,} of one text are read; split it into rows"
        )
    if "\0" in text:
        raise ValueError(f"has a NUL character (as number {text.index(chr(0)) + 1}); remove it")
    if not text.isascii() and (half := _SURROGATE.search(text)) is not None:
        raise ValueError(
            f"holds \\u{ord(half[0]):04x}, half of a surrogate pair (as character {half.start() + 1}), which UTF-8 "
            "cannot hold; write the whole character, or remove the half"
        )
    return text.lstrip(MARK) if text.startswith(MARK) else text


def _fit(value: Any, place: str) -> Any:
    if isinstance(value, str):
        try:
            return fit_text(value)
        except ValueError as error:
            raise ValueError(f'"{place}" {error}' if place else str(error)) from error
    if isinstance(value, Mapping):
        return {_fit_key(key): _fit(inner, f"{place}.{key}" if place else str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_fit(inner, f"{place}[{index}]") for index, inner in enumerate(value))
    return value


def _fit_key(key: Any) -> Any:
    if not isinstance(key, str):
        return key
    try:
        return fit_text(key)
    except ValueError as error:
        raise ValueError(f"a key {error}") from error


def _looks_wide(start: bytes) -> bool:
    """True where every second byte is NUL for the most part, as in UTF-16 of Western text."""
    halves = start[::2], start[1::2]
    return len(start) >= 8 and any(half.count(0) > 0.7 * len(half) for half in halves)


def _not_utf8(content: bytes, place: int) -> str:
    line = content.count(b"\n", 0, place) + 1
    byte = content[place : place + 1]
    guess = byte.decode("cp1252", errors="replace")
    read = f"; in Windows-1252 or Latin-1 it is {guess!r}" if guess.isalpha() or guess in "‘’“”–—…€«»°" else ""
    return f"line {line} holds the byte 0x{byte.hex()}, which is no UTF-8 there{read}; save the file as UTF-8"
