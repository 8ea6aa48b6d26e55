"""Sources of data: JSONL, CSV and text files and Hugging Face data sets; every problem is collected, none is raised."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from retain.data.examples import Example
from retain.data.item import DataItem, PlainText
from retain.data.item_types import Choice

Parsed = TypeVar("Parsed")

Numbered = tuple[str, Any]
"""The place of a row, for messages, and the row."""

FILE_SUFFIXES = (".jsonl", ".json", ".csv", ".txt", ".md")
SHOWN_PROBLEMS_A_FILE = 10


def read_calibration_texts(source: str, problems: list[str]) -> list[DataItem]:
    """Read texts to calibrate on or to replay.

    Rows have the columns text, prompt and completion, messages, or question, choices and answer. The two texts of a
    pair (`text_pair`) are one text. A plain text file is split at its blank lines.

    Args:
        source: path of a JSONL, CSV or text file, or `owner/name[:configuration][:split]` on the hub.
        problems: receives one sentence for each problem.
    """
    if _is_file(source) and not source.endswith((".jsonl", ".json", ".csv")):
        parts = read_text(source, problems).split("\n\n")
        return [PlainText(text=part.strip()) for part in parts if part.strip()]
    unread: list[str] = []
    return collect_items(source, list(source_rows(source, unread)), _calibration_text, problems, unread)


def _calibration_text(row: dict[str, Any]) -> DataItem:
    """Make a calibration text of a row.

    Raises:
        ValueError: in one sentence, what is wrong with it.
    """
    if "text" in row:
        if not isinstance(row["text"], str) or not row["text"].strip():
            raise ValueError('"text" must be text that is not empty')
        pair = row.get("text_pair")
        return PlainText(text=f"{row['text']} {pair}" if isinstance(pair, str) else row["text"])
    if "choices" in row:
        choice = Choice.parse(row)
        return PlainText(text=f"{choice.question.rstrip()} {choice.choices[choice.answer]}")
    try:
        return Example.parse(row)
    except ValueError as error:
        raise ValueError(f'{error}; or give "text", or "question", "choices" and "answer"') from error


def read_text(source: str, problems: list[str]) -> str:
    """Read held-out text: a UTF-8 text file, or the `text` column of a data set (documents joined by blank lines)."""
    if not _is_file(source):
        documents = [row.get("text") for _, row in _hub_rows(source, problems) if isinstance(row, dict)]
        texts = [document for document in documents if isinstance(document, str) and document.strip()]
        if documents and not texts:
            problems.append(f'{source}: no column "text" with text in it.')
        return "\n\n".join(texts)
    try:
        text = Path(source).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{source}: cannot be read as UTF-8 text ({_reason(error)}).")
        return ""
    if not text.strip():
        problems.append(f"{source}: is empty.")
    return text


def suite_name(source: str) -> str:
    """The name of a suite: its file's stem, or the data set's name without its owner."""
    return Path(source).stem if _is_file(source) else source.split(":", maxsplit=1)[0].rsplit("/", 1)[-1]


def source_rows(source: str, problems: list[str]) -> Iterator[Numbered]:
    """The rows of a JSONL or CSV file, or of a data set `owner/name[:configuration][:split]`, each with its place."""
    if not _is_file(source):
        return _hub_rows(source, problems)
    return _table_rows(source, problems) if source.endswith(".csv") else _file_rows(source, problems)


def collect_items(
    source: str,
    rows: Sequence[Numbered],
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
            lines.append(f"{place}: {error}.")
    problems.extend(lines[:SHOWN_PROBLEMS_A_FILE])
    if len(lines) > SHOWN_PROBLEMS_A_FILE:
        problems.append(f"{source}: and {len(lines) - SHOWN_PROBLEMS_A_FILE} more such lines.")
    if not items and len(problems) == before:
        problems.append(f"{source}: holds no items.")
    return items


def _table_rows(source: str, problems: list[str]) -> Iterator[Numbered]:
    try:
        with Path(source).expanduser().open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                yield f"{source}, line {number}", {key: value for key, value in row.items() if value not in (None, "")}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{source}: cannot be read ({_reason(error)}).")


def _is_file(source: str) -> bool:
    return source.endswith(FILE_SUFFIXES) or Path(source).expanduser().exists()


def _file_rows(source: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    try:
        text = Path(source).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{source}: cannot be read ({_reason(error)}).")
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{source}, line {number}"
        try:
            yield place, json.loads(line)
        except ValueError as error:
            problems.append(f"{place}: is no JSON ({error}).")


def _hub_rows(source: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    import datasets  # noqa: PLC0415  (slow to import; only hub data need it)

    name, *rest = source.split(":")
    configuration = rest[0] if len(rest) > 1 else None
    split = rest[-1] if rest else "train"
    try:
        rows = datasets.load_dataset(name, configuration, split=split)
    except Exception as error:  # noqa: BLE001  (whatever a hub, a cache or a loader may raise is one problem to tell)
        reason = str(error).strip().split("\n")[0]
        problems.append(f"{source}: neither a file here nor a data set that can be loaded ({reason}).")
        return
    for number, row in enumerate(rows):
        yield f"{source}, row {number}", row


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
