"""The reference page explains every field that the records have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from retain import results

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "result.md"
RECORDS = (
    results.Result, results.MethodRecord, results.Parameters, results.TaskScore, results.KeepScore, results.Drift,
    results.Cost, results.Provenance, results.Item, results.Side,
)  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_is_explained(record):
    explained = set(re.findall(r"`([a-z_]+)`", PAGE.read_text(encoding="utf-8")))
    assert {field.alias or name for name, field in record.model_fields.items()} <= explained


def test_the_schema_and_every_status_are_named():
    page = PAGE.read_text(encoding="utf-8")
    assert f'"{results.SCHEMA}"' in page
    for status in ("measured", "too few items", "base at chance"):
        assert f'`"{status}"`' in page
