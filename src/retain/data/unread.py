"""Texts of rows that nothing reads: an answer may depend on them, so they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from retain.data.examples import OWN_KEYS
from retain.data.item import DataItem
from retain.data.meanings import is_worse
from retain.data.shapes import TURNS
from retain.data.texts import is_blank

Row = Mapping[str, Any]

WORDS = 3
"""Words that make a value a text; fewer are a name, a category, a date."""

ASKED_WITH = frozenset(
    {"context", "passage", "article", "document", "story", "history", "input", "system", "system_prompt", "options"}
)
"""Columns on which an answer depends, whatever few words they hold."""


def unread_note(rows: Sequence[Row], read: Callable[[Row], DataItem]) -> str:
    """A clause on columns with texts that stand nowhere in what is read of a row; empty where there are none.

    A text that repeats what is read is none, nor one in which prompt and completion stand, rendered for a model.

    Args:
        rows: the first of a source.
        read: makes the item of a row.
    """
    counted: Counter[str] = Counter()
    pairs = []
    for row in rows:
        try:
            item = read(row)
        except ValueError:  # a problem, which is told with its row
            continue
        pairs.append((row, item))
        counted.update(_unread(row, item))
    names = [name for name, count in counted.items() if 2 * count >= len(pairs)]
    if not names:
        return ""
    row, item = pairs[0]
    hold, it = ("holds text", "it") if len(names) == 1 else ("hold texts", "them")
    told = f"{_listed(names)} {hold} that {'is' if it == 'it' else 'are'} not read"
    if item.modality == "image":
        return told
    depends = "the class depends" if item.is_labelled else "the answer depends"
    return f"{told}; where {depends} on {it}, {_cure(row, item, it)}"


def _cure(row: Row, item: DataItem, it: str) -> str:
    cure = f"write {it} into {_quoted('messages' if item.is_chat and 'prompt' not in row else item.columns[0])}"
    return f'{cure}, or name {it} "text_pair"' if item.is_labelled and "text_pair" not in row and it == "it" else cure


def _quoted(name: str) -> str:
    return f'"{name}"'


def _listed(names: Sequence[str]) -> str:
    *first, last = map(_quoted, names)
    return f"{', '.join(first)} and {last}" if first else last


def _unread(row: Row, item: DataItem) -> Iterator[str]:
    """The columns of a row whose texts are not in its item."""
    known = {*item.columns, *type(item).model_fields, *OWN_KEYS, *TURNS}
    whole = "\n".join(_texts(item.model_dump()))
    for name, value in row.items():
        if name in known or is_worse(name):
            continue
        texts = [text for text in map(str.strip, _texts(value)) if not is_blank(text)]
        if not texts or not (name in ASKED_WITH or any(len(text.split()) >= WORDS for text in texts)):
            continue
        joined = "\n".join(texts)
        rendered = len(item.texts) > 1 and all(text.strip() in joined for text in item.texts)
        if not rendered and not all(text in whole for text in texts):
            yield name


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, in those that it holds too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
