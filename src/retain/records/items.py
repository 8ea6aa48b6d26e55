"""Every item of a run with both models' answers, in `items.jsonl`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from retain.errors import InputError
from retain.records.base import Record
from retain.records.files import write_text
from retain.records.manifest import check_unchanged
from retain.records.reading import parse_json
from retain.records.upgrade import upgraded_item


class Side(Record):
    """One model's answer to one item (null where the metric reads no answer) and its scores by metric.

    `cut_off` says whether the longest length ended a written answer; it is null where none was written.
    """

    answer: str | None = None
    cut_off: bool | None = None
    scores: dict[str, float] = Field(default_factory=dict)


class Item(Record):
    """One item with both models' answers. `part` is the table of the result that it belongs to.

    Items of one `group` belong together (one article, one image): the group is the independent unit. `condition`
    names the domain or corruption. Where `withheld` is true the texts are neither stored nor shown (safety).
    `converted` is the answer of what was made of the tuned model, where that was measured, too; `relearned` that of the
    tuned model after a few steps of training on other text.
    """

    part: Literal["task", "keep", "gone", "held-out"]
    suite: str
    index: int
    group: str | None = None
    condition: str | None = None
    withheld: bool = False
    question: str
    expected: str | None = None
    base: Side
    tuned: Side
    converted: Side | None = None
    relearned: Side | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_any_schema(cls, fields: object) -> object:
        return upgraded_item(fields) if isinstance(fields, dict) else fields


def write_items(items: Iterable[Item], path: Path) -> str:
    """Write `items.jsonl`, atomically, one item a line; return the SHA-256 of the file."""
    text = "".join(item.model_dump_json(exclude=_missing(item)) + "\n" for item in items)
    write_text(path, text)
    return hashlib.sha256(text.encode()).hexdigest()


def _missing(item: Item) -> set[str]:
    """Further sides that an item does not have."""
    return {name for name in ("converted", "relearned") if getattr(item, name) is None}


def unlike_record(path: Path, items_hash: str) -> str | None:
    """The reason why a file of items is not the one that a record was written with, or None.

    Args:
        path: of the items.
        items_hash: that the record states; empty where it was not taken, so that nothing can be told.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not items_hash or items_hash == found:
        return None
    return f"{path}: its content is not what the record was written with (sha256 {found[:12]}…)."


def read_items(path: Path) -> Iterator[Item]:
    """Read an `items.jsonl` line by line.

    Raises:
        InputError: it is not as retain wrote it, or a line is no item.
    """
    check_unchanged(path)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{path}, line {number}"
            try:
                yield Item.model_validate(parse_json(line, place))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                field = ".".join(map(str, first["loc"])) or "the item"
                raise InputError(f"{place}: {field}: {first['msg']}.") from error
