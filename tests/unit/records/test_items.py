"""Items are one JSON object a line, and their file has a hash."""

import hashlib

import pytest
from pydantic import ValidationError

from report_samples import items
from retain.records.items import Item, Side, read_items, write_items


def test_what_is_written_is_read_again(tmp_path):
    written = write_items(items(), tmp_path / "items.jsonl")
    assert list(read_items(tmp_path / "items.jsonl")) == items()
    assert written == hashlib.sha256((tmp_path / "items.jsonl").read_bytes()).hexdigest()


def test_an_unknown_part_or_field_is_refused():
    fields = {"suite": "s", "index": 0, "question": "", "base": Side(), "tuned": Side()}
    with pytest.raises(ValidationError, match="part"):
        Item(part="nowhere", **fields)
    with pytest.raises(ValidationError, match="colour"):
        Item(part="keep", colour="red", **fields)
    with pytest.raises(ValidationError, match="finite"):
        Side(scores={"accuracy": float("nan")})
