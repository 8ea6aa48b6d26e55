"""The reference page explains every field that the records have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from retain.records import result as results

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "result.md"
RECORDS = [
    record
    for record in vars(results).values()
    if isinstance(record, type) and issubclass(record, BaseModel) and record.__module__ == results.__name__
    and record.model_fields
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_is_explained(record):
    explained = set(re.findall(r"`([a-z0-9_]+)`", PAGE.read_text(encoding="utf-8")))
    assert {field.alias or name for name, field in record.model_fields.items()} <= explained


def test_there_are_records():
    assert {results.Result, results.Judgement, results.Item} <= set(RECORDS)


def test_the_schema_and_every_status_are_named():
    page = PAGE.read_text(encoding="utf-8")
    assert f'"{results.SCHEMA}"' in page
    words = (*get_args(results.Status), *get_args(results.Verdict), *get_args(results.Learned))
    for status in words:
        assert f'`"{status}"`' in page
