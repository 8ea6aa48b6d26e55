"""Tables of separated values: the separator is seen from the rows, and the shape is checked before a row is used.

The standard library's csv reads them, strictly: a quote that is opened is closed at the end of its field. What that
cannot know is looked at here, because a table that is read by position goes wrong in silence: rows with another number
of fields than the header, names that stand twice, and quotes that swallow the lines behind them.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from retain.data.places import Numbered

SEPARATORS = (",", "\t", ";", "|")
SAMPLE = 200
"""Rows from which the separator is seen."""

FEW = 20
"""One row in so many may span lines that look like rows before this is taken for the table's way."""

_SEP_LINE = re.compile(r"sep=([,;|\t])\r?\n", re.IGNORECASE)


class Record(NamedTuple):
    """A row of a table: its fields, and the first and last line that it stands in."""

    fields: list[str]
    first: int
    last: int


@dataclass(frozen=True)
class Dialect:
    """The way in which a table is written.

    Attributes:
        separator: between fields.
        spaced: true where a space follows each separator.
        quoted: false where quotes are characters as any other.
        escape: the character before a quote within a field; None where such a quote is doubled.
    """

    separator: str
    spaced: bool = False
    quoted: bool = True
    escape: str | None = None

    def options(self) -> dict[str, Any]:
        """The dialect as `csv.reader` takes it."""
        return {
            "delimiter": self.separator,
            "skipinitialspace": self.spaced,
            "quoting": csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            "escapechar": self.escape,
            "doublequote": self.escape is None,
            "strict": True,
        }


def table_rows(text: str, name: str, problems: list[str]) -> Iterator[Numbered]:
    """The rows of a table by the names in its first line, each with its line; empty fields are left out.

    Args:
        text: the content of a file.
        name: of the file: a suffix of tabs makes tabs the first guess.
        problems: receives a clause for each row whose shape is wrong, with its line and the cure.
    """
    text, skipped, separator = _without_sep_line(text)
    dialect = _dialect(text, separator or _separator(text, name))
    found: list[str] = []
    records = _records(text, dialect, found)
    if not records:
        problems += found
        return
    names = [field.strip() for field in records[0].fields]
    if reason := _header_reason(names):
        problems.append(f"line {records[0].first + skipped}: {reason}")
        return
    swallowed = {record.first for record in _swallowing(records[1:], text, dialect, len(names))}
    for record in records[1:]:
        place = _place(record, skipped)
        if record.first in swallowed:
            problems.append(
                f"{place} are one row, because a quote opens in the first of them and closes in the last; double that "
                "quote or remove it (where the row is meant so, save the table as JSONL)"
            )
        elif reason := _shape_reason(record.fields, names, dialect):
            problems.append(f"{place}: {reason}")
        elif any(record.fields):
            pairs = zip(names, record.fields, strict=False)
            yield place, {column: value for column, value in pairs if column and value}
    problems += found


def first_fields(text: str, name: str) -> list[str]:
    """The fields of a text's first line, read as a table; one where it has no separator."""
    line = text[: text.find("\n") + 1 or None]
    records = _records(line, Dialect(_separator(text, name)), [], strict=False)
    return records[0].fields if records else []


def looks_like_table(text: str) -> bool:
    """True for a text whose first line is nothing but names with a separator between them, whatever its file's name."""
    if text.lstrip().startswith(("{", "[")):
        return False
    names = first_fields(text.lstrip(), "")
    return len(names) > 1 and all(re.fullmatch(r"[^\W\d][\w .-]*", name.strip()) for name in names)


def _without_sep_line(text: str) -> tuple[str, int, str]:
    """A table without the line `sep=;` that Excel reads, how many lines that was, and the separator it names."""
    match = _SEP_LINE.match(text)
    return (text, 0, "") if match is None else (text[match.end() :], 1, match[1])


def _separator(text: str, name: str) -> str:
    """The separator by which most of the first rows have as many fields as the header, and that at least two."""
    order = sorted(SEPARATORS, key=lambda separator: separator != "\t") if name.lower().endswith("tsv") else SEPARATORS
    best, most = order[0], 0.0
    for separator in order:
        sample = _records(text, Dialect(separator), [], strict=False, most=SAMPLE)
        if not sample or len(sample[0].fields) < 2:
            continue
        counts = [len(record.fields) for record in sample if any(record.fields)]
        share = sum(count == counts[0] for count in counts) / len(counts)
        if share > most:
            best, most = separator, share
    return best


def _dialect(text: str, separator: str) -> Dialect:
    """The dialect of a table with this separator; quotes are read as usual unless only another reading fits."""
    header = text[: text.find("\n") + 1 or None]
    spaced = f"{separator} " in header and header.count(f"{separator} ") == header.count(separator)
    usual = Dialect(separator, spaced=spaced and separator != "\t")
    others = []
    if '\\"' in text:
        others.append(Dialect(separator, usual.spaced, escape="\\"))
    if separator == "\t" and '"' in text:
        others.append(Dialect(separator, quoted=False))
    if not others or _is_even(text, usual):
        return usual
    return next((other for other in others if _is_even(text, other)), usual)


def _is_even(text: str, dialect: Dialect) -> bool:
    """True where every row has as many fields as the first, and no quote swallows lines."""
    broken: list[str] = []
    records = _records(text, dialect, broken)
    counts = {len(record.fields) for record in records if any(record.fields)}
    return not broken and len(counts) == 1 and not _swallowing(records[1:], text, dialect, counts.pop())


def _records(
    text: str, dialect: Dialect, problems: list[str], *, strict: bool = True, most: int | None = None
) -> list[Record]:
    """The rows of a table with their lines; blank lines are skipped. A broken quote ends them with a problem."""
    found: list[Record] = []
    line = 0
    with _fields_of_any_size():
        reader = csv.reader(io.StringIO(text, newline=""), **{**dialect.options(), "strict": strict})
        try:
            for fields in reader:
                if fields and fields != [""]:
                    found.append(Record(fields, line + 1, reader.line_num))
                line = reader.line_num
                if most is not None and len(found) >= most:
                    break
        except csv.Error as error:
            problems.append(_broken(error, line + 1, reader.line_num))
    return found


def _broken(error: csv.Error, first: int, last: int) -> str:
    if "end of data" in str(error):
        return f"line {first}: a quote opens there and never closes; double that quote or remove it"
    if "expected after" in str(error):
        where = f"line {first}" if first == last else f"lines {first} to {last}"
        return (
            f"{where}: a quote opens a field, and behind the quote that closes it the field goes on (line {last}); "
            "double the quotes within a field, or remove them"
        )
    return f"line {last}: cannot be read as a row of a table ({error})"


@contextmanager
def _fields_of_any_size() -> Iterator[None]:
    """Lift the csv module's own limit of 131,072 characters a field for a moment; ours is in `characters`."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _header_reason(names: Sequence[str]) -> str:
    """What is wrong with the names of columns, as a clause; nothing where they can be used."""
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if twice:
        listed = ", ".join(map(repr, twice))
        return f"the header has {listed} twice; the first line of a table names its columns, each once"
    return ""


def _shape_reason(fields: Sequence[str], names: Sequence[str], dialect: Dialect) -> str:
    """What is wrong with the number of a row's fields, as a clause; nothing where they fit the header."""
    if len(fields) == len(names) and all(names):
        return ""
    surplus = fields[len(names) :]
    unnamed = [value for name, value in itertools.islice(zip(names, fields, strict=False), 1, None) if not name]
    separator = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar"}[dialect.separator]
    if any(surplus):
        return (
            f"has {len(fields)} fields and the header {len(names)}; put a field with {separator} in it into "
            'quotes ("…")'
        )
    if any(unnamed):
        return "has a value in a column without a name; name the column in the header"
    if len(fields) < len(names) and any(fields):
        return f"has {len(fields)} of {len(names)} fields; give the missing ones, empty where they are not known"
    return ""


def _swallowing(records: Sequence[Record], text: str, dialect: Dialect, columns: int) -> list[Record]:
    """Rows over several lines each of which is a row by itself: a stray quote swallowed them.

    Where this is not rare it is the table's way of writing, and nothing is found.
    """
    spanning = [record for record in records if record.last > record.first]
    if not dialect.quoted or not spanning or (columns == 1 and len(records) < FEW):
        return []
    lines = list(io.StringIO(text, newline=""))
    found = [
        record
        for record in spanning
        if all(line.count(dialect.separator) == columns - 1 for line in lines[record.first - 1 : record.last])
    ]
    return found if len(found) <= max(1, len(records) // FEW) else []


def _place(record: Record, skipped: int) -> str:
    first, last = record.first + skipped, record.last + skipped
    return f"line {first}" if first == last else f"lines {first} to {last}"
