"""The page's sections on what goes with what was lost, and on what updates look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from choose import best_rate
from evidence import Run, Task, by_rate
from plan import Plan
from predictors import FEWEST, PREDICTORS, correlations


def predictors_part(tasks: dict[str, Task]) -> str:
    """What goes with what was lost, over all runs of a task; empty while no task has enough of them."""
    rows = []
    for task in tasks.values():
        row = correlations(task)
        if any(value is not None for value in row.values.values()):
            cells = ["–" if row.values[name] is None else f"{row.values[name]:.2f}" for name in PREDICTORS]
            rows.append(f"| {task.entry['title']} | {row.runs} | " + " | ".join(cells) + " |")
    if not rows:
        return ""
    return "\n".join(
        [
            "## What goes with what was lost",
            "",
            (
                "Rank correlation of the mean points lost over the suites with each measure, over all runs of a "
                f"task, once it has {FEWEST}. Runs of one method are alike, so the number of runs overstates what "
                "a correlation rests on, and there are neither intervals nor p-values."
            ),
            "",
            "| task | runs | " + " | ".join(PREDICTORS) + " |",
            "|---" * (2 + len(PREDICTORS)) + "|",
            *rows,
            "",
            "![points lost over KL on the new task's inputs, over KL on other text, and over F_Δ](predictors.png)",
        ]
    )


def shapes_part(plan: Plan, tasks: dict[str, Task], records: Path) -> str:
    """What each method's update looks like at its chosen rate, in each task; empty while no rate is chosen."""
    names = list(tasks)
    rows = []
    for method in plan.methods:
        cells = []
        for name, task in tasks.items():
            rates = by_rate(task, method)
            chosen = best_rate(plan, records, name, method) if rates else None
            cells.append("–" if chosen is None else _shape(rates[chosen]))
        if any(cell != "–" for cell in cells):
            rows.append(f"| {plan.title(method)} | " + " | ".join(cells) + " |")
    if not rows:
        return ""
    return "\n".join(
        [
            "## What the updates look like",
            "",
            (
                "At the chosen rates, means over seeds: the share of the ten leading left singular vectors that "
                "the base does not have (intruders) / the share of the update outside the base's column space, in"
                " layers that are tall. Of 12 layers, spread evenly. The papers' claims are in "
                "[claims](../../docs/claims.md)."
            ),
            "",
            "| method | " + " | ".join(names) + " |",
            "|---" * (1 + len(names)) + "|",
            *rows,
        ]
    )


def _shape(runs: Sequence[Run]) -> str:
    drifts = [run.result.drift for run in runs]
    shares = [one.intruders / one.intruders_of for one in drifts if one.intruders is not None and one.intruders_of]
    leaks = [one.column_leak for one in drifts if one.column_leak is not None]
    return " / ".join(f"{100 * fmean(found):.1f} %" if found else "–" for found in (shares, leaks))
