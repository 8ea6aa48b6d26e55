"""Columns as people have them: renamed where they say so, and what to rename otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def renamed(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """A row whose columns have their new names; a column of a new name that was there before gives way.

    Args:
        row: values by column.
        columns: old names by their new ones; old names that a row lacks are left out.
    """
    moved = {new: row[old] for new, old in columns.items() if old in row}
    gone = {columns[new] for new in moved} | set(moved)
    return {name: value for name, value in row.items() if name not in gone} | moved


def missing_columns(rows: Iterable[Any], columns: Mapping[str, str]) -> list[str]:
    """The old names that no row has; none where the rows have the new names instead, all of them."""
    left, new = set(columns.values()), set(columns)
    for row in rows:
        names = row.keys() if isinstance(row, Mapping) else set()
        left -= names
        new -= names
        if not left:
            break
    return [] if left == set(columns.values()) and not new else [old for old in columns.values() if old in left]


_MEANT: dict[str, tuple[str, ...]] = {
    "prompt": (
        *("prompt", "instruction", "question", "query", "input", "source", "src", "problem", "request", "user"),
        *("document", "article", "dialogue", "text", "content", "context", "premise"),
    ),
    "completion": (
        *("completion", "response", "output", "answer", "target", "tgt", "reply", "solution", "assistant", "chosen"),
        *("summary", "highlights", "translation", "generation", "label"),
    ),
    "messages": ("messages", "conversations", "conversation", "dialog", "dialogue", "turns", "chat", "chosen"),
    "text": (
        "text",
        "sentence",
        "review",
        "content",
        "comment",
        "tweet",
        "body",
        "title",
        "headline",
        "sentence1",
        "premise",
        "question1",
        "utterance",
        "question",
    ),
    "text_pair": ("text_pair", "sentence2", "hypothesis", "question2"),
    "label": (
        "label",
        "labels",
        "class",
        "category",
        "target",
        "sentiment",
        "rating",
        "stars",
        "intent",
        "topic",
        "y",
        "gold_label",
        "score",
        "is_duplicate",
    ),
    "image": ("image", "img", "image_path", "filename", "file", "file_name", "path", "picture"),
    "question": ("question", "query", "problem", "prompt", "ctx", "goal", "sentence"),
    "choices": ("choices", "options", "endings", "candidates"),
    "answer": ("answer_index", "answer_idx", "answer", "answerkey", "label", "gold", "correct"),
    "answers": ("answers", "answer", "aliases", "target"),
    "query": ("query", "anchor", "question", "sentence1"),
    "match": ("match", "positive", "passage", "document", "sentence2", "answer"),
}
"""Names of columns by what people mean with them, the likeliest first."""


def suggestions(row: Row, wanted: Iterable[Sequence[str]], most: int = 2) -> list[str]:
    """Renamings that make a row one of the known ones, as `prompt=question,completion=answer`.

    Forms with more columns come first: choices would be lost in one that has a question and an answer only.

    Args:
        row: as it is.
        wanted: the columns of each known form.
        most: how many are given.
    """
    by_lower = {str(name).strip().lower(): str(name) for name in row}
    found = []
    for columns in sorted(wanted, key=len, reverse=True):
        taken: dict[str, str] = {}
        for column in (*columns, *(("text_pair",) if "label" in columns and "text" in columns else ())):
            meant = (by_lower[name] for name in _MEANT.get(column, (column,)) if name in by_lower)
            old = next((name for name in meant if name not in taken.values() and _may_be(column, row[name])), None)
            if old is not None:
                taken[column] = old
        pairs = [f"{new}={old}" for new, old in taken.items() if new != old]
        if pairs and all(column in taken for column in columns):
            found.append(",".join(pairs))
    return list(dict.fromkeys(found))[:most]


def _may_be(column: str, value: Any) -> bool:
    """Whether a value is of the type that a column holds."""
    if column == "messages":
        return isinstance(value, list)
    if column == "choices":
        return isinstance(value, (list, Mapping))
    if column in ("label", "answer", "answers"):
        return (isinstance(value, (str, int, list)) and not isinstance(value, bool)) or column == "label"
    return isinstance(value, str)
