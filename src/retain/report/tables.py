"""The tables of one run as plain text cells, for Markdown and the page alike."""

from __future__ import annotations

from dataclasses import dataclass

from retain.report import numbers
from retain.report.words import SYMBOLS, Reading, read_change, read_keep, read_task
from retain.results import Drift, KeepScore, Result, TaskScore


@dataclass(frozen=True)
class Table:
    """A table: what it shows, its column heads, its rows (the first cell names the row), a note beneath."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def reading_cell(reading: Reading) -> str:
    """A reading with a sign before it, so that it is found without colour."""
    return f"{SYMBOLS[reading]} {reading}"


def run_tables(result: Result) -> list[Table]:
    """Everything measured in one run."""
    tables = []
    if result.task:
        tables.append(_task_table(result.task))
    if result.keep:
        tables.append(_keep_table(result.keep))
    return [*tables, _drift_table(result.drift), _size_table(result)]


def metric_cell(metric: str, *, higher_is_better: bool) -> str:
    """A metric with its unit and, where it is not the usual one, the good direction."""
    unit = numbers.unit_of(metric).name
    extra = ", ".join(part for part in (unit, "" if higher_is_better else "lower is better") if part)
    return f"{numbers.metric_words(metric)} ({extra})" if extra else numbers.metric_words(metric)


def _task_table(scores: tuple[TaskScore, ...]) -> Table:
    rows = []
    for score in scores:
        unit = numbers.unit_of(score.metric)
        rows.append(
            (
                score.name,
                metric_cell(score.metric, higher_is_better=score.higher_is_better),
                numbers.count(score.n),
                numbers.plain(score.base, unit),
                numbers.plain(score.tuned, unit),
                numbers.change(score.tuned - score.base, score.interval, unit),
                reading_cell(read_task(score)),
            )
        )
    head = ("Task", "Metric", "Items", "Base", "Tuned", "Change [95%]", "Reading")
    return Table("What it learned: the task on held-out data", head, tuple(rows))


def _keep_table(scores: tuple[KeepScore, ...]) -> Table:
    head = (
        *("Keep suite", "Metric", "Items", "Base", "Tuned", "Change [95%]"),
        *("Lost", "Gained", "p", "Retention [95%]", "Reading"),
    )
    note = (
        "Lost: right before, wrong now. Gained: wrong before, right now. p: exact McNemar test of lost against gained. "
        "Retention: the tuned model's lead over chance as a share of the base's."
    )
    return Table("What it kept: the same questions before and after", head, tuple(map(keep_row, scores)), note)


def keep_row(score: KeepScore) -> tuple[str, ...]:
    """One keep suite's cells."""
    unit = numbers.unit_of(score.metric)
    change = None if score.base is None or score.tuned is None else score.tuned - score.base
    return (
        score.name,
        metric_cell(score.metric, higher_is_better=score.higher_is_better),
        numbers.count(score.n),
        numbers.plain(score.base, unit),
        numbers.plain(score.tuned, unit),
        numbers.change(change, score.interval, unit),
        numbers.percent(score.lost),
        numbers.percent(score.gained),
        numbers.p_value(score.p_value),
        numbers.percent(score.retention, score.retention_interval),
        reading_cell(read_keep(score)),
    )


def _drift_table(drift: Drift) -> Table:
    nats = numbers.NATS
    ce_reading = read_change(drift.ce_drift_interval, higher_is_better=False)
    rows = (
        (
            "Cross-entropy change, nats per token",
            numbers.change(drift.ce_drift_nats_per_token, drift.ce_drift_interval, nats),
            "how much worse (+) or better (−) it predicts the reference text",
            reading_cell(ce_reading) if drift.ce_drift_nats_per_token is not None else numbers.MISSING,
        ),
        (
            "KL from the base, nats per token",
            numbers.level(drift.kl_nats_per_token, drift.kl_interval, nats),
            "how far its predictions moved from the base's, in either direction",
            numbers.MISSING,
        ),
        (
            "Churn: the most likely next token differs",
            numbers.percent(drift.churn, drift.churn_interval),
            "share of positions where the model would now say something else",
            numbers.MISSING,
        ),
        (
            "Update size, relative to the weights",
            numbers.three_digits(drift.update_relative_frobenius),
            "Frobenius norm of the change over that of the changed weights",
            numbers.MISSING,
        ),
        (
            "Update on real inputs, F_Δ",
            numbers.three_digits(drift.f_delta),
            "how much the change moves a layer's output, relative to its input",
            numbers.MISSING,
        ),
    )
    measured_on = f"Reference text: {numbers.count(drift.tokens)} tokens." if drift.tokens else "No reference text."
    base = numbers.plain(drift.ce_base_nats_per_token, nats)
    told = (
        f" The base's cross-entropy there is {base} nats per token." if drift.ce_base_nats_per_token is not None else ""
    )
    note = f" {drift.note}" if drift.note else ""
    head = ("Measure", "Value [95%]", "What it says", "Reading")
    return Table("How far it moved", head, rows, measured_on + told + note)


def _size_table(result: Result) -> Table:
    sizes, cost = result.parameters, result.cost
    share = (
        f" of {numbers.parameters(sizes.total)} ({numbers.three_digits(100 * sizes.trainable / (sizes.total or 1))}%)"
    )
    rows = [
        ("Trained parameters", numbers.parameters(sizes.trainable) + (share if sizes.total else "")),
        ("Change on disk", numbers.bytes_size(sizes.adapter_bytes)),
    ]
    if cost.train_seconds > 0:
        step = numbers.seconds(cost.step_seconds_median)
        rows += [
            ("Training time", f"{numbers.seconds(cost.train_seconds)}, {numbers.count(cost.steps)} steps of {step}"),
            ("Tokens read in training", numbers.count(cost.tokens)),
            ("Memory at most", numbers.bytes_size(cost.peak_rss_bytes)),
        ]
        if cost.final_train_loss is not None:
            rows.append(("Training loss at the end", numbers.plain(cost.final_train_loss, numbers.NATS)))
    else:
        rows.append(("Training time", "not trained in this run"))
    return Table("What it took", ("Measure", "Value"), tuple(rows))


def provenance_table(result: Result) -> Table:
    """What made the figures."""
    provenance = result.provenance
    rows = [
        ("Command", provenance.command),
        ("Made", provenance.created),
        ("Base model", result.model),
        ("Model hash", provenance.model_hash),
        ("Method", result.method.name),
        *((f"Method: {field}", str(value)) for field, value in sorted(result.method.config.items())),
        ("Learning rate", numbers.learning_rate(result.learning_rate)),
        ("Seed", numbers.MISSING if result.seed is None else str(result.seed)),
        *((f"Data: {name}", value) for name, value in sorted(provenance.data_hashes.items())),
        *((f"Version: {name}", value) for name, value in sorted(provenance.versions.items())),
        *(("Note", note) for note in provenance.notes),
    ]
    return Table("Command, settings, data and versions", ("What", "Value"), tuple(rows))
