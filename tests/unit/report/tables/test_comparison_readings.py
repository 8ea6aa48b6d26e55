"""Readings of settings, and verdicts by setting."""

from report_samples import AT_CHANCE, TOO_FEW, bare, eighteen, keep_score, named, sample_run
from retain.compare.aggregate import group_runs
from retain.compare.pick import keep_keys, pick_kl, task_keys
from retain.report.tables.comparison_tables import comparison_tables, keep_reading, mean, task_reading
from retain.report.tables.comparison_verdicts import setting_verdicts, verdicts_in_words


def test_a_comparison_has_a_table_a_metric_one_of_drift_and_one_of_runs():
    runs = named(eighteen())
    tables = comparison_tables(runs, group_runs(runs), {})
    results = [run.result for run in runs]
    assert len(tables) == len(task_keys(results)) + len(keep_keys(results)) + 2
    assert len(tables[-1].rows) == 18
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)


def test_a_setting_is_read_by_its_interval_or_its_status():
    results = [sample_run(keep=(TOO_FEW, AT_CHANCE, keep_score(0.01)))]
    (group,) = group_runs(named(results))
    readings = {key[0]: keep_reading(group, key) for key in keep_keys(results)}
    assert readings["poems"] == "too few items"
    assert readings["arithmetic"] == "base at chance"
    assert task_reading(group, task_keys(results)[0]) == "better"
    (nothing,) = group_runs(named([bare()]))
    assert task_reading(nothing, task_keys(results)[0]) is None
    assert mean(group, pick_kl) == results[0].drift.kl_nats_per_token


def test_without_a_verdict_there_is_no_table_of_verdicts():
    assert setting_verdicts(group_runs(named([bare()]))) is None
    assert verdicts_in_words([bare()]) == ""
