"""Tables of drift: overall, and the layers where a feature scale was learned."""

from __future__ import annotations

from retain.records import numbers
from retain.records.drift_record import Drift
from retain.report.claims import read_change
from retain.report.tables.scores_table import Table, reading_cell

MOST_FEATURE_SCALES, MOST_FEATURES = 12, 4


def moved_tables(drift: Drift) -> list[Table]:
    """The measures of the whole model, and the layers with the largest feature scales, as far as they were measured."""
    tables = [drift_table(drift), *([_feature_scale_table(drift)] if drift.feature_scales else [])]
    return [table for table in tables if table.rows]


def drift_table(drift: Drift) -> Table:
    """Every measure of the whole model that the record has."""
    measured_on = f"Held-out text: {numbers.count(drift.tokens)} tokens." if drift.tokens else "No held-out text."
    base = numbers.plain(drift.ce_base_nats_per_token, numbers.NATS)
    told = (
        f" The base's cross-entropy there is {base} nats per token." if drift.ce_base_nats_per_token is not None else ""
    )
    note = f" {drift.note}" if drift.note else ""
    head = ("Measure", "Value [95%]", "What it says")
    rows = tuple(row for row in (*_output_rows(drift), *_weight_rows(drift)) if row[1] != numbers.MISSING)
    return Table("How far it moved", head, rows, measured_on + told + note)


def _output_rows(drift: Drift) -> tuple[tuple[str, ...], ...]:
    nats = numbers.NATS
    ce = drift.ce_drift_nats_per_token
    reading = "" if ce is None else f" ({reading_cell(read_change(drift.ce_drift_interval, higher_is_better=False))})"
    rows = [
        (
            "Cross-entropy change, nats per token",
            numbers.change(ce, drift.ce_drift_interval, nats),
            f"how much worse (+) or better (−) it predicts the held-out text{reading}",
        ),
        (
            "KL from the base, nats per token",
            numbers.level(drift.kl_nats_per_token, drift.kl_interval, nats),
            "how far its predictions moved from the base's, in either direction",
        ),
        (
            "Churn: the most likely next token differs",
            numbers.percent(drift.churn, drift.churn_interval),
            "share of positions where the model would now say something else",
        ),
    ]
    if drift.kl_task_nats_per_token is not None:
        kl = numbers.level(drift.kl_task_nats_per_token, drift.kl_task_interval, nats)
        rows.append(("KL on the task, nats per token", kl, "the same on the task's own inputs, where it should move"))
    return tuple(rows)


def _weight_rows(drift: Drift) -> list[tuple[str, str, str]]:
    digits = numbers.three_digits
    untouched = numbers.MISSING
    if drift.untouched is not None and drift.untouched_of:
        share = numbers.percent(drift.untouched / drift.untouched_of)
        untouched = f"{share} ({numbers.count(drift.untouched)} of {numbers.count(drift.untouched_of)})"
    intruders = numbers.MISSING if drift.intruders is None else f"{drift.intruders} of {drift.intruders_of}"
    return [
        (
            "Update size, relative to the weights",
            digits(drift.update_relative_frobenius),
            "Frobenius norm of the change over that of the changed weights",
        ),
        (
            "Update on real inputs, F_Δ",
            digits(drift.f_delta),
            "how much the change moves a layer's output, relative to its input",
        ),
        ("F_Δ on the task", digits(drift.f_delta_learn), "the same on the task's inputs"),
        (
            "F_Δ on the task / elsewhere",
            digits(drift.f_delta_ratio),
            "above 1 where the change acts on the task more than on the rest",
        ),
        ("Largest singular value of a change", digits(drift.sigma_max), "its strongest push in one direction"),
        ("Stable rank, median", digits(drift.stable_rank), "over about how many directions a change is spread"),
        ("Intruder dimensions", intruders, "strong directions of the tuned weights that the base did not have"),
        ("Entries untouched, bit for bit", untouched, "of the changed matrices, once the update is merged into them"),
        ("Column leak", digits(drift.column_leak), "share of the change outside what the layer could reach before"),
    ]


def _feature_scale_table(drift: Drift) -> Table:
    top = sorted(drift.feature_scales, key=lambda layer: -layer.amount)[:MOST_FEATURE_SCALES]
    rows = tuple(
        (
            layer.name,
            numbers.three_digits(layer.amount),
            numbers.percent(layer.share),
            ", ".join(f"{index} ({numbers.three_digits(value)})" for index, value in layer.features[:MOST_FEATURES])
            or numbers.MISSING,
        )
        for layer in top
    )
    layers = len(drift.feature_scales)
    shown = f" The {len(top)} largest of {layers} layers." if layers > len(top) else ""
    note = f"Feature scale: the mean change of a layer's input, relative to the input (|T x|/|x|).{shown}"
    return Table("Where the adapter acts", ("Layer", "Feature scale", "Share", "Strongest features"), rows, note)
