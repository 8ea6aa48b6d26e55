"""Sources of data: files, folders and data sets as rows with their places; problems are collected, none is raised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from retain.data.arrow_rows import columns_of_file, entries_of, hub_data, is_saved, saved_splits
from retain.data.characters import MOST_CHARACTERS, decoded, fit_row, has_long_line, needs_care
from retain.data.entries import Entries
from retain.data.file_content import kind_of, read_content
from retain.data.folders import choose, files_by_part
from retain.data.json_rows import json_entries
from retain.data.places import Numbered, Source, missing_sentence, parse_source
from retain.data.row_limit import EVERY_ROW, ChosenRows, KindOf, RowLimit, choose_rows
from retain.data.tables import first_fields, looks_like_table, table_rows
from retain.errors import sentence

Parsed = TypeVar("Parsed")

SHOWN_PROBLEMS_A_FILE = 10


def source_rows(source: str, problems: list[str], obvious: str | None = None) -> Iterator[Numbered]:
    """The rows of a source, each with its place. Texts in them are such that any tokenizer and file can hold them.

    Args:
        source: a file, a folder of files, or a data set id; see `retain.data.places`. Columns are not renamed here.
        problems: receives a sentence for each row, file or folder that cannot be read.
        obvious: the part that is read of a source with several where none is named.
    """
    yield from some_rows(source, problems, EVERY_ROW, obvious).rows


def some_rows(
    source: str, problems: list[str], limit: RowLimit, obvious: str | None = None, kind: KindOf | None = None
) -> ChosenRows:
    """The rows of a source as `source_rows` gives them, or those that a limit leaves.

    Args:
        source: as in `source_rows`.
        problems: receives a sentence for each row that is read and cannot be used, and for each file or folder.
        limit: how many rows are read.
        obvious: as in `source_rows`.
        kind: what a row is of; the first row of each kind is among those that are read.
    """
    try:
        found = parse_source(source)
    except ValueError as error:
        problems.append(sentence(f"{source}: {error}"))
        return ChosenRows([])
    told = partial(_until_error, name=found.text, problems=problems)
    return choose_rows((entries.then(told) for entries in told(_entries(found, obvious, problems))), limit, kind)


def _until_error(values: Iterator[Parsed], name: str, problems: list[str]) -> Iterator[Parsed]:
    """Values up to the first error, which becomes a problem."""
    try:
        yield from values
    except (OSError, ValueError) as error:
        problems.append(sentence(f"{name}: {_reason(error)}"))


def _entries(source: Source, obvious: str | None, problems: list[str]) -> Iterator[Entries]:
    """The entries of each file of a source.

    Raises:
        OSError: a file cannot be read.
        ValueError: as a clause, there are no rows.
    """
    path, name = source.path, source.text
    if path is None:
        yield _checked(entries_of(name, _hub_data(name)), problems)
    elif not path.exists():
        raise ValueError(missing_sentence(path))
    elif path.is_dir():
        yield from _folder_entries(source, path, obvious, problems)
    else:
        yield file_entries(path, name.rpartition(":")[0] if source.part else name, problems, source.part)


def file_entries(path: Path, name: str, problems: list[str], part: str | None = None) -> Entries:
    """The rows of a file, by what its content is.

    Args:
        path: of the file.
        name: stands for it in messages.
        problems: receives a sentence for each row that cannot be read.
        part: the key that holds the rows of a JSON object.

    Raises:
        OSError: the file cannot be read.
        ValueError: as a clause, it is no file of rows.
    """
    content = read_content(path)
    kind = kind_of(content, path.name)
    if kind in ("parquet", "arrow"):
        return _checked(entries_of(name, columns_of_file(path, kind)), problems)
    text = decoded(content)
    del content
    clauses: list[str] = []
    if kind == "json" and not looks_like_table(text):
        entries = json_entries(text, part, clauses)
    elif kind in ("json", "table") or len(first_fields(text, path.name)) > 1:
        entries = Entries.of(table_rows(text, path.name, clauses))
    else:
        raise ValueError(
            "it is plain text, and rows are needed here: JSONL, a JSON list, CSV, TSV, Parquet or Arrow"
            if text.strip()
            else "it is empty"
        )
    careful = needs_care(text) or (len(text) > MOST_CHARACTERS if kind != "json" else has_long_line(text))

    def told(rows: Iterator[Numbered]) -> Iterator[Numbered]:
        placed = ((f"{name}, {place}", row) for place, row in rows)
        yield from checked_rows(placed, problems) if careful else placed
        problems.extend(
            f"{name}{', ' if clause.startswith(('line', 'entry')) else ': '}{clause}." for clause in clauses
        )

    return entries.then(told)


def _folder_entries(source: Source, folder: Path, obvious: str | None, problems: list[str]) -> Iterator[Entries]:
    part, name = source.part, source.text
    if part is not None:
        name = source.text.rpartition(":")[0]
        if (folder / part).is_dir():
            folder, part = folder / part, None
    if is_saved(folder):
        saved = saved_splits(folder)
        data = choose(saved, part, obvious, name) if isinstance(saved, Mapping) else saved
        yield _checked(entries_of(source.text, data), problems)
        return
    parts = files_by_part(folder)
    if not parts:
        raise ValueError(
            "the folder holds no files of rows (JSONL, JSON, CSV, TSV, Parquet, Arrow), no data set that save_to_disk "
            "wrote, and no images in folders named after their classes (CLASS/NAME.png)"
        )
    for path in choose(parts, part, obvious, name):
        yield file_entries(path, str(path), problems)


def _hub_data(text: str) -> Any:
    """A data set by its id.

    Raises:
        ValueError: as a clause, it cannot be loaded.
    """
    name, *rest = text.split(":")
    try:
        return hub_data(name, rest[0] if len(rest) > 1 else None, rest[-1] if rest else "train")
    except ValueError as error:
        raise ValueError(f"neither a file here nor a data set that can be loaded ({error})") from error


def _checked(entries: Entries, problems: list[str]) -> Entries:
    return entries.then(lambda rows: checked_rows(rows, problems))


def checked_rows(rows: Iterable[Numbered], problems: list[str]) -> Iterator[Numbered]:
    """Rows whose every text was looked at; one that holds what no text may is a problem."""
    for place, row in rows:
        try:
            yield place, fit_row(row)
        except ValueError as error:
            problems.append(sentence(f"{place}: {error}"))


def collect_items(
    source: str,
    rows: Iterable[Numbered],
    parse: Callable[[dict[str, Any]], Parsed],
    problems: list[str],
    unread: Sequence[str] = (),
) -> list[Parsed]:
    """Make an item of each row; the first problems are listed one by one, the others counted.

    Args:
        source: what the rows come from.
        rows: with their places.
        parse: makes an item or raises ValueError.
        problems: receives the sentences.
        unread: problems of rows that could not be read, listed first.
    """
    items: list[Parsed] = []
    lines = list(unread)
    before = len(problems)
    for place, row in rows:
        if not isinstance(row, dict):
            lines.append(f"{place}: expected a JSON object, found {type(row).__name__}.")
            continue
        try:
            items.append(parse(row))
        except ValueError as error:
            lines.append(sentence(f"{place}: {error}"))
    problems += first_problems(source, lines)
    if not items and len(problems) == before:
        problems.append(f"{source}: holds no items.")
    return items


def first_problems(source: str, lines: Sequence[str]) -> list[str]:
    """The first problems of a source, and how many more there are."""
    more = len(lines) - SHOWN_PROBLEMS_A_FILE
    return [*lines[:SHOWN_PROBLEMS_A_FILE], *([f"{source}: and {more} more such lines."] if more > 0 else [])]


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
