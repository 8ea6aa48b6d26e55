"""Texts without a task: held-out text, and texts to calibrate on or to replay, from files of text and of rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.data.characters import decoded
from retain.data.columns import missing_columns, renamed, suggestions
from retain.data.examples import Example
from retain.data.file_content import bare_suffix, kind_of, read_content
from retain.data.folders import files_by_part, text_files
from retain.data.item import DataItem, PlainText
from retain.data.item_types import Choice, Question
from retain.data.places import Numbered, Source, parse_source
from retain.data.shapes import shape_of_row
from retain.data.sources import collect_items, first_problems, source_rows
from retain.data.texts import is_blank
from retain.records.renamed_columns import RENAMED

TEXT = ("text",)


def read_text(source: str, problems: list[str]) -> str:
    """Read held-out text: a text file, a folder of them, or the `text` column of rows, joined by blank lines.

    Args:
        source: see `retain.data.places`.
        problems: receives one sentence for each problem.
    """
    text = _plain_text(source, problems)
    if text is not None:
        return text
    unread: list[str] = []
    rows = _renamed_rows(source, unread)
    with_text = [(place, row) for place, row in rows if isinstance(row, Mapping) and "text" in row]
    if rows and not with_text:
        found = rows[0][1] if isinstance(rows[0][1], Mapping) else {}
        problems.append(f'{source}: no column "text" with text in it{_how_to_rename(source, found)}.')
    documents: list[str] = []
    for place, row in with_text:
        if isinstance(row["text"], str):
            documents += [row["text"]] if not is_blank(row["text"]) else []
        elif row["text"] is not None:
            unread.append(f'{place}: "text" must be text.')
    if with_text and not documents and not unread:
        problems.append(f"{source}: is empty.")
    problems += first_problems(source, unread)
    return "\n\n".join(documents)


def read_calibration_texts(source: str, problems: list[str]) -> list[DataItem]:
    """Read texts to calibrate on or to replay.

    Rows have the columns text, prompt and completion, messages, question and answers, or question, choices and answer,
    or are of a shape that `retain.data.shapes` knows. The two texts of a pair (`text_pair`) are one text. A plain text
    file is split at its blank lines.

    Args:
        source: see `retain.data.places`.
        problems: receives one sentence for each problem.
    """
    text = _plain_text(source, problems)
    if text is not None:
        return [PlainText(text=part.strip()) for part in text.split("\n\n") if not is_blank(part)]
    unread: list[str] = []
    rows = _renamed_rows(source, unread)
    return collect_items(source, rows, _calibration_text, problems, unread)


def _renamed_rows(source: str, unread: list[str]) -> list[Numbered]:
    rows = list(source_rows(source, unread))
    if RENAMED not in source or not rows:
        return rows
    columns = parse_source(source).columns
    if lacking := missing_columns((row for _, row in rows), columns):
        unread.append(f"{source}: no row has {', '.join(map(repr, lacking))}, which is to be renamed.")
    return [(place, renamed(row, columns) if isinstance(row, Mapping) else row) for place, row in rows]


def _calibration_text(row: dict[str, Any]) -> DataItem:
    """Make a calibration text of a row.

    Raises:
        ValueError: in one sentence, what is wrong with it.
    """
    shape = shape_of_row(row)
    if shape is not None:
        row = shape.translate(row)
    if "text" in row:
        if not isinstance(row["text"], str) or is_blank(row["text"]):
            raise ValueError('"text" must be text that is not empty')
        pair = row.get("text_pair")
        return PlainText(text=f"{row['text']} {pair}" if isinstance(pair, str) else row["text"])
    if "choices" in row and "answers" not in row:
        choice = Choice.parse(row)
        return PlainText(text=f"{choice.question.rstrip()} {choice.choices[choice.answer]}")
    if "question" in row and "answers" in row:
        question = Question.parse(row)
        return PlainText(text=f"{question.question.rstrip()} {question.answers[0]}")
    try:
        return Example.parse(row)
    except ValueError as error:
        raise ValueError(
            f'{error}; or give "text", or "question" and "answers", or "question", "choices" and "answer"'
        ) from error


def _how_to_rename(source: str, row: Mapping[str, Any]) -> str:
    found = ", ".join(map(str, row)) or "no columns"
    offered = suggestions(row, [TEXT], most=1)
    cure = f"; say {source.partition(RENAMED)[0]}{RENAMED}{offered[0]}" if offered else ""
    return f" (found {found}){cure}"


def _plain_text(source: str, problems: list[str]) -> str | None:
    """The text of a text file, or of a folder of them; None for a source of rows, and for one that is not there."""
    try:
        found = parse_source(source)
        if found.path is None or not found.path.exists():
            return None
        if found.path.is_dir():
            return _folder_text(found)
        return _file_text(found.path)
    except OSError as error:
        problems.append(f"{source}: {error.strerror or error}.")
    except ValueError as error:
        problems.append(f"{source}: cannot be read as text ({error}).")
    return ""


def _folder_text(source: Source) -> str | None:
    folder = source.path or Path()
    files = [] if source.part or files_by_part(folder) else text_files(folder)
    return "\n\n".join(filter(None, map(_file_text, files))) if files else None


def _file_text(path: Path) -> str | None:
    """The text of a file, None where its content is rows."""
    content = read_content(path)
    kind = kind_of(content, path.name)
    if kind in ("parquet", "arrow") or (kind != "text" and bare_suffix(path.name) not in (".txt", ".md")):
        return None
    text = decoded(content).replace("\r\n", "\n").replace("\r", "\n")
    if is_blank(text):
        raise ValueError("it is empty")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"line {line} has a NUL character; remove it")
    return text
