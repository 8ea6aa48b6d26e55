"""A comparison as data: `summary.json` by setting, `summary.csv` by run, for whoever goes on calculating."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from retain.compare.aggregate import Estimate, Group, NamedResult
from retain.compare.method_curves import Whole
from retain.compare.pick import (
    keep_keys,
    pick_ce_drift,
    pick_churn,
    pick_drift,
    pick_keep,
    pick_keep_field,
    pick_kl,
    pick_task,
    pick_task_field,
    task_keys,
)
from retain.report.tables.comparison_budgets import budgets_data
from retain.report.tables.methods_as_a_whole import whole_data

SCHEMA = "retain.summary/1"


_GONE = ("known", "left", "declined", "share", "bound", "old_answer_base", "old_answer_tuned")
"""Figures of what should be gone."""


def summary_json(
    runs: Sequence[NamedResult], groups: Sequence[Group], cautions: Sequence[str], found: Sequence[Whole] = ()
) -> str:
    """Every setting's means and intervals, tuned − base where it is a change; the budgets; the methods as a whole."""
    results = [run.result for run in runs]
    tasks, suites = task_keys(results), keep_keys(results)
    settings = [
        {
            "setting": group.title,
            "method": group.results[0].method.model_dump(),
            "label": group.method,
            "learning_rate": group.learning_rate,
            "seeds": [result.seed for result in group.results],
            "runs": [run.name for run in group.runs],
            "parameters_trainable": group.results[0].parameters.trainable,
            "train_seconds": sum(result.cost.train_seconds for result in group.results) / len(group.runs),
            "task": [
                {
                    "name": key[0],
                    "metric": key[1].name,
                    "change": _estimate(group.estimate(pick_task(key))),
                    **{field: _estimate(group.estimate(pick_task_field(key, field))) for field in ("base", "tuned")},
                }
                for key in tasks
            ],
            "keep": [
                {
                    "name": key[0],
                    "metric": key[1].name,
                    "change": _estimate(group.estimate(pick_keep(key))),
                    **{
                        field: _estimate(group.estimate(pick_keep_field(key, field)))
                        for field in ("base", "tuned", "lost", "gained", "retention")
                    },
                }
                for key in suites
            ],
            **_gone(group),
            "drift": {
                "kl_nats_per_token": _estimate(group.estimate(pick_kl)),
                "ce_drift_nats_per_token": _estimate(group.estimate(pick_ce_drift)),
                "churn": _estimate(group.estimate(pick_churn)),
                "update_relative_frobenius": _estimate(group.estimate(pick_drift("update_relative_frobenius"))),
                "f_delta": _estimate(group.estimate(pick_drift("f_delta"))),
            },
        }
        for group in groups
    ]
    record = {
        "schema": SCHEMA,
        "cautions": list(cautions),
        "settings": settings,
        "budgets": budgets_data((run.name, run.result) for run in runs),
        "wholes": whole_data(found),
    }
    return json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n"


def _gone(group: Group) -> dict[str, Any]:
    """What is left of what should be gone, in each run; nothing where nothing should."""
    scores = [(run.name, score) for run in group.runs for score in run.result.gone]
    found = [
        {"name": score.name, "metric": score.metric.name, "run": run}
        | {field: getattr(score, field) for field in _GONE}
        for run, score in scores
    ]
    return {"gone": found} if found else {}


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "mean": estimate.mean,
        "values": estimate.values,
        "interval_over_seeds": estimate.seeds,
        "interval_over_items": estimate.items,
    }


def summary_csv(groups: Sequence[Group]) -> str:
    """One row a run, one column a figure."""
    rows = [_row(group, run) for group in groups for run in group.runs]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(group: Group, run: NamedResult) -> dict[str, Any]:
    result = run.result
    row: dict[str, Any] = {
        "run": run.name,
        "setting": group.title,
        "method": result.method.name,
        "learning_rate": result.learning_rate,
        "seed": result.seed,
        "parameters_trainable": result.parameters.trainable,
        "train_seconds": result.cost.train_seconds,
    }
    for score in result.task:
        name = f"task.{score.name}.{score.metric.name}"
        for field in ("n", "base", "tuned"):
            row[f"{name}.{field}"] = getattr(score, field)
        row[f"{name}.low"], row[f"{name}.high"] = score.interval
    for kept in result.keep:
        for field in ("n", "status", "base", "tuned", "lost", "gained", "p_value", "retention"):
            row[f"keep.{kept.name}.{kept.metric.name}.{field}"] = getattr(kept, field)
        low, high = kept.interval or (None, None)
        row[f"keep.{kept.name}.{kept.metric.name}.low"], row[f"keep.{kept.name}.{kept.metric.name}.high"] = low, high
    row |= {
        f"gone.{gone.name}.{gone.metric.name}.{field}": getattr(gone, field)
        for gone in result.gone
        for field in ("n", *_GONE)
    }
    for field in ("kl_nats_per_token", "ce_drift_nats_per_token", "churn", "update_relative_frobenius", "f_delta"):
        row[f"drift.{field}"] = getattr(result.drift, field)
    if result.scaling is not None:
        row["scaling.alpha"] = result.scaling.alpha
    for one in result.budget:
        for field in ("unit", "limit", "bound", "kept"):
            row[f"budget.{one.name}.{field}"] = getattr(one, field)
    return row
