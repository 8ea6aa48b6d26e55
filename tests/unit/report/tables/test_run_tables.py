"""The tables of one run, cell by cell: scores, details, provenance."""

from full_samples import full_run
from report_samples import AT_CHANCE, bare, judged, sample_run
from retain.records.metrics_table import ACCURACY, CROSS_ENTROPY
from retain.report.tables.detail import breakdown_tables, calibration_table
from retain.report.tables.provenance_tables import (
    conditions_table,
    provenance_table,
    size_table,
    stated_rows,
    suites_table,
)
from retain.report.tables.scores_table import keep_row, metric_cell, reading_cell, score_tables


def test_a_metric_is_shown_with_its_unit_and_its_direction_where_that_is_unusual():
    assert metric_cell(ACCURACY) == "accuracy (points)"
    assert metric_cell(CROSS_ENTROPY) == "cross-entropy (nats per token, lower is better)"
    assert reading_cell("worse").endswith(" worse")


def test_the_scores_of_a_run_are_two_tables():
    task, keep = score_tables(judged())
    assert [len(task.rows), len(keep.rows)] == [2, 5]
    assert all(len(row) == len(table.head) for table in (task, keep) for row in table.rows)
    assert score_tables(bare()) == []
    assert "base at chance" in " ".join(keep_row(AT_CHANCE))


def test_details_are_there_where_they_were_measured():
    record = full_run()
    tables = breakdown_tables(record)
    assert sum(len(table.rows) for table in tables) == len(record.breakdowns)
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)
    calibration = calibration_table(record)
    assert calibration is not None
    assert len(calibration.rows) == len(record.calibration)
    assert breakdown_tables(bare()) == []
    assert calibration_table(bare()) is None


def test_provenance_says_what_made_the_figures():
    record = full_run()
    conditions, suites = conditions_table(record), suites_table(record)
    assert conditions is not None
    assert suites is not None
    assert len(suites.rows) == len(record.suites)
    assert conditions_table(bare()) is None
    assert suites_table(bare()) is None
    sizes = " ".join(cell for row in size_table(sample_run()).rows for cell in row)
    assert "134.5 M" in sizes
    assert any("Command" in row[0] or "command" in row[0] for row in provenance_table(record).rows)


def test_settings_that_say_nothing_are_left_out_and_others_are_written_as_in_a_recipe():
    training = {"replay": None, "training": {}, "columns": (), "fp16": False, "epochs": 0, "names": ["a", "b"]}
    told = stated_rows("Training", {**training, "optimiser": {"name": "adamw", "fused": True}})
    assert dict(told) == {
        "Training: epochs": "0",
        "Training: fp16": "false",
        "Training: names": "a, b",
        "Training: optimiser": "name: adamw, fused: true",
    }
