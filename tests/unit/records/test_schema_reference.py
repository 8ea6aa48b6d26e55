"""The reference page explains every field that the records have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from retain.records import (
    budget_record,
    conversion_record,
    drift_record,
    gone_record,
    items,
    metric,
    result,
    scores,
    served_record,
    verdicts,
)

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "result.md"
MODULES = (
    budget_record, conversion_record, drift_record, gone_record, items, metric, result, scores, served_record, verdicts,
)  # fmt: skip
RECORDS = [
    record
    for module in MODULES
    for record in vars(module).values()
    if isinstance(record, type) and issubclass(record, BaseModel) and record.__module__ == module.__name__
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_is_explained(record):
    explained = set(re.findall(r"`([a-z0-9_]+)`", PAGE.read_text(encoding="utf-8")))
    assert {field.alias or name for name, field in record.model_fields.items()} <= explained


def test_there_are_records():
    assert {result.Result, verdicts.Judgement, items.Item, scores.KeepScore, metric.Metric} <= set(RECORDS)


def test_the_schema_and_every_status_are_named():
    page = PAGE.read_text(encoding="utf-8")
    assert f'"{result.SCHEMA}"' in page
    words = (
        *get_args(scores.Status),
        *get_args(verdicts.Verdict),
        *get_args(verdicts.Learned),
        *metric.UNITS,
        *get_args(gone_record.Forgotten),
    )
    for word in words:
        assert f'`"{word}"`' in page
