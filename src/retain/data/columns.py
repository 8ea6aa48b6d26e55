"""Columns as people have them: renamed where they say so, and what to rename otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from retain.data.numbers import NUMBER, is_mark

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
        *("prompt", "instruction", "question", "query", "input", "inputs", "source", "src", "problem", "request"),
        *("user", "user_input", "human"),
        *("document", "article", "dialogue", "text", "content", "context", "premise"),
    ),
    "completion": (
        *("completion", "response", "output", "answer", "best_answer", "correct_answer", "target", "targets", "tgt"),
        *("reply", "solution", "canonical_solution", "code", "assistant", "model_output", "chosen"),
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
        "fine_label",
        "coarse_label",
        "answer",
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


_PAIRS = (("question", "sentence"), ("question", "passage"), ("question", "context"), ("query", "passage"))
"""Columns that are a text and its pair where there is a class, although the first would not be taken for a text."""

_CHOICE = re.compile(r"(?:|(.+?)_?)([0-9]|[a-eA-E])")
_CHOICES = {None, "option", "opt", "op", "choice", "sol", "solution", "answer", "ending", "candidate", "distractor"}
_ASKED = {"question", "sentence", "goal", "ctx", "premise", "context", "query", "prompt", "problem", "startphrase"}


def spread_choices(row: Row) -> list[str]:
    """The columns in which the choices of a question stand one by one: option1, option2, or A, B, C, D."""
    if not any(isinstance(row.get(name), str) for name in row if name.lower() in _ASKED):
        return []
    found: dict[str | None, list[str]] = {}
    for name, value in row.items():
        match = _CHOICE.fullmatch(name)
        if match is not None and isinstance(value, str | int | float):
            stem = match[1] and match[1].lower()
            found.setdefault(stem, []).append(name)
    several = (names for stem, names in found.items() if stem in _CHOICES and len(names) > 1)
    return max(several, key=len, default=[])


def suggestions(row: Row, wanted: Iterable[Sequence[str]], most: int = 2) -> list[str]:
    """Renamings that make a row one of the known ones, as `prompt=question,completion=answer`.

    Forms with more columns come first: choices would be lost in one that has a question and an answer only.

    Args:
        row: as it is.
        wanted: the columns of each known form.
        most: how many are given.
    """
    if spread_choices(row):
        return []  # of the question alone
    by_lower = {str(name).strip().lower(): str(name) for name in row}
    found = []
    for columns in sorted(wanted, key=len, reverse=True):
        labelled = "label" in columns and "text" in columns
        taken = _paired(row, by_lower) if labelled else {}
        for column in (*columns, *(("text_pair",) if labelled else ())):
            if column in taken:
                continue
            meant = (by_lower[name] for name in _MEANT.get(column, (column,)) if name in by_lower)
            old = next(
                (name for name in meant if name not in taken.values() and _may_be(column, row[name], name)), None
            )
            if old is not None:
                taken[column] = old
        pairs = [f"{new}={old}" for new, old in taken.items() if new != old]
        if pairs and all(column in taken for column in columns):
            found.append(",".join(pairs))
    if any("text_pair=" in pairs for pairs in found):  # with a class, of which some say that two do not match
        found = [pairs for pairs in found if "match=" not in pairs]
    return list(dict.fromkeys(found))[:most]


def _paired(row: Row, by_lower: Mapping[str, str]) -> dict[str, str]:
    """The columns of a text and its pair, where their names tell that they are both."""
    named = ([by_lower.get(name, "") for name in pair] for pair in _PAIRS)
    found = next((names for names in named if all(isinstance(row.get(name), str) for name in names)), [])
    return dict(zip(("text", "text_pair"), found, strict=False))


def _may_be(column: str, value: Any, name: str) -> bool:
    """Whether a value is of the type that a column holds."""
    if column == "messages":
        return isinstance(value, list)
    if column in ("choices", "image") and isinstance(value, Mapping):
        return True
    if column == "choices":
        return isinstance(value, list)
    if column == "label":
        return is_mark(value) if name.lower() == "answer" else isinstance(value, str | int | float)
    if column in ("answer", "answers"):
        return isinstance(value, str | int | list) and not isinstance(value, bool)
    return isinstance(value, str) and not (column == "completion" and _is_class(value, name.lower()))


def _is_class(text: str, name: str) -> bool:
    """True for a number under the name of label, and for a yes or no under that of answer, which may be a number."""
    return is_mark(text) and (name == "label" or (name == "answer" and not NUMBER.fullmatch(text.strip())))
