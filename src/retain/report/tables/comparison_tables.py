"""The tables of a comparison: one row a setting, its figures averaged over seeds; then one row a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retain.compare.aggregate import Estimate, Group, NamedResult, point_names
from retain.compare.pick import (
    Key,
    Pick,
    keep_keys,
    keep_score,
    pick_ce_drift,
    pick_churn,
    pick_drift,
    pick_keep,
    pick_keep_field,
    pick_kl,
    pick_task,
    pick_task_field,
    sign_of,
    task_keys,
    task_score,
)
from retain.records import numbers
from retain.report.claims import Reading, read_change, read_keep
from retain.report.tables.scores_table import Table, metric_cell, reading_cell
from retain.report.verdict_words import verdict_cell

_INTERVALS = (
    "Means over seeds. Over seeds: Student-t 95% interval of the mean. Over items: the runs' own 95% intervals, "
    "ends averaged. A change is read as shown only where both leave out zero."
)


def task_reading(group: Group, key: Key) -> Reading | None:
    """The reading of a setting's task score; null where it has none."""
    estimate = group.estimate(pick_task(key))
    if estimate is None:
        return None
    scores = [score for run in group.runs if (score := task_score(run.result, key)) is not None]
    return read_change(
        estimate.interval,
        higher_is_better=sign_of(group.results, key) > 0,
        change=estimate.mean,
        smallest=max((score.smallest_effect for score in scores), default=0.0),
    )


def keep_reading(group: Group, key: Key) -> Reading | None:
    """The reading of a setting's score on a retention suite; null where it has none."""
    scores = [score for run in group.runs if (score := keep_score(run.result, key)) is not None]
    if not scores:
        return None
    unscored = next((score for score in scores if score.status != "measured"), None)
    if unscored is not None or len(scores) == 1:
        return read_keep(unscored or scores[0])
    estimate = group.estimate(pick_keep(key))
    return read_change(
        None if estimate is None else estimate.interval, higher_is_better=scores[0].metric.higher_is_better
    )


def comparison_tables(runs: Sequence[NamedResult], groups: Sequence[Group], links: Mapping[str, str]) -> list[Table]:
    """Every table of a comparison, the task first. `links` leads from a run's name to its own report."""
    results = [run.result for run in runs]
    tasks, suites = task_keys(results), keep_keys(results)
    return [
        *(_task_table(groups, key) for key in tasks),
        *(_keep_table(groups, key) for key in suites),
        _drift_table(groups),
        _run_table(groups, tasks, suites, links),
    ]


def mean(group: Group, pick: Pick) -> float | None:
    """The mean over seeds alone; null where no run has the figure."""
    estimate = group.estimate(pick)
    return None if estimate is None else estimate.mean


def _change_cells(estimate: Estimate | None, unit: numbers.Unit) -> tuple[str, str, str]:
    if estimate is None:
        return (numbers.MISSING,) * 3
    seeds = numbers.bracket(estimate.seeds, unit) or numbers.MISSING
    items = numbers.bracket(estimate.items, unit) or numbers.MISSING
    return (numbers.signed(estimate.mean, unit), seeds, items)


def _task_table(groups: Sequence[Group], key: Key) -> Table:
    unit = key[1].unit
    rows = []
    for group in groups:
        reading = task_reading(group, key)
        if reading is not None:
            rows.append(
                (
                    group.title,
                    str(group.seeds),
                    numbers.plain(mean(group, pick_task_field(key, "base")), unit),
                    numbers.plain(mean(group, pick_task_field(key, "tuned")), unit),
                    *_change_cells(group.estimate(pick_task(key)), unit),
                    reading_cell(reading),
                )
            )
    first = next(score for group in groups for run in group.runs if (score := task_score(run.result, key)) is not None)
    metric = metric_cell(key[1])
    head = ("Setting", "Seeds", "Base", "Tuned", "Change", "Over seeds", "Over items", "Reading")
    return Table(f"What it learned: {key[0]}, {metric}, {numbers.count(first.n)} items", head, tuple(rows), _INTERVALS)


def _keep_table(groups: Sequence[Group], key: Key) -> Table:
    unit = key[1].unit
    rows = []
    for group in groups:
        reading = keep_reading(group, key)
        if reading is not None:
            retention = group.estimate(pick_keep_field(key, "retention"))
            rows.append(
                (
                    group.title,
                    str(group.seeds),
                    numbers.plain(mean(group, pick_keep_field(key, "base")), unit),
                    numbers.plain(mean(group, pick_keep_field(key, "tuned")), unit),
                    *_change_cells(group.estimate(pick_keep(key)), unit),
                    numbers.percent(mean(group, pick_keep_field(key, "lost"))),
                    numbers.percent(mean(group, pick_keep_field(key, "gained"))),
                    numbers.percent(retention.mean, retention.interval) if retention else numbers.MISSING,
                    reading_cell(reading),
                )
            )
    first = next(score for group in groups for run in group.runs if (score := keep_score(run.result, key)) is not None)
    metric = metric_cell(key[1])
    head = (
        *("Setting", "Seeds", "Base", "Tuned", "Change", "Over seeds", "Over items"),
        *("Lost", "Gained", "Retention [both]", "Reading"),
    )
    return Table(f"What it kept: {key[0]}, {metric}, {numbers.count(first.n)} items", head, tuple(rows), _INTERVALS)


def _drift_table(groups: Sequence[Group]) -> Table:
    nats = numbers.NATS
    rows = []
    for group in groups:
        kl, ce = group.estimate(pick_kl), group.estimate(pick_ce_drift)
        seconds = [run.result.cost.train_seconds for run in group.runs]
        rows.append(
            (
                group.title,
                str(group.seeds),
                numbers.parameters(group.runs[0].result.parameters.trainable),
                numbers.level(kl.mean, kl.interval, nats) if kl else numbers.MISSING,
                numbers.change(ce.mean, ce.interval, nats) if ce else numbers.MISSING,
                numbers.percent(mean(group, pick_churn)),
                numbers.three_digits(mean(group, pick_drift("update_relative_frobenius"))),
                numbers.three_digits(mean(group, pick_drift("f_delta"))),
                numbers.seconds(sum(seconds) / len(seconds)),
            )
        )
    head = (
        *("Setting", "Seeds", "Trained parameters", "KL [95%]", "Cross-entropy change [95%]"),
        *("Churn", "Update size", "F_Δ", "Training time"),
    )
    note = (
        "On held-out text, nats per token. KL: how far predictions moved from the base's. Churn: share of positions "
        "whose most likely token changed. Update size: weight change relative to the weights. F_Δ: the same on real "
        "inputs. [95%] covers both the interval over seeds and that over items."
    )
    return Table("How far each moved, and what it took", head, tuple(rows), note)


def _run_table(groups: Sequence[Group], tasks: Sequence[Key], suites: Sequence[Key], links: Mapping[str, str]) -> Table:
    judged = any(run.result.judgement is not None for group in groups for run in group.runs)
    verdict_head = ("Verdict",) if judged else ()
    head = [
        *("Run", "Setting", "Seed"),
        *verdict_head,
        *(f"{name}, {metric.title}" for name, metric in tasks),
    ]
    for name, metric in suites:
        head += [f"{name}, {metric.title}", "p"]
    rows = []
    for group in groups:
        for run in group.runs:
            cells = [run.name, group.title, numbers.MISSING if run.result.seed is None else str(run.result.seed)]
            if judged:
                verdict = run.result.judgement
                cells.append(numbers.MISSING if verdict is None else verdict_cell(verdict.overall))
            for key in tasks:
                score = task_score(run.result, key)
                cells.append(numbers.plain(None if score is None else score.tuned, key[1].unit))
            for key in suites:
                kept = keep_score(run.result, key)
                cells.append(numbers.plain(None if kept is None else kept.tuned, key[1].unit))
                cells.append(numbers.p_value(None if kept is None else kept.p_value))
            rows.append(tuple(cells))
    note = "Scores of the tuned model. p: exact McNemar test of lost against gained within that run."
    names = point_names(groups)
    runs = [run.name for group in groups for run in group.runs]
    found = tuple(links.get(name, "") for name in runs)
    return Table("Every run", tuple(head), tuple(rows), note, found, tuple(names[name] for name in runs))
