"""What goes with what was lost: drift on the new task's inputs, drift on other text, sizes of the update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from evidence import Draws, Run, Task, change
from scipy import stats


def movement(run: Run) -> float | None:
    """F_Δ on the text to keep; where there is none (encoders, images) on the task's own inputs."""
    drift = run.result.drift
    return drift.f_delta_learn if drift.f_delta is None else drift.f_delta


PREDICTORS: dict[str, Callable[[Run], float | None]] = {
    "KL on the new task": lambda run: run.result.drift.kl_task_nats_per_token,
    "KL on other text": lambda run: run.result.drift.kl_nats_per_token,
    "F_Δ": movement,
    "size of the update": lambda run: run.result.drift.update_relative_frobenius,
}
FEWEST = 12
"""Runs below which a correlation says nothing."""


@dataclass(frozen=True)
class Row:
    """The rank correlations of one task; None where too few runs have the measure, or all alike."""

    runs: int
    values: dict[str, float | None]


def points_lost(task: Task, run: Run, draws: Draws) -> float:
    """The points lost, in the mean over the suites to be kept."""
    return -100 * fmean(float(change(task, run, draws, suite)[0]) for suite in task.entry["keep"])


def correlations(task: Task) -> Row:
    """Spearman's ρ of the points lost with each measure over all runs of a task."""
    draws = Draws(task, 1, 0)
    lost = {cell: points_lost(task, run, draws) for cell, run in task.runs.items()}
    found: dict[str, float | None] = {}
    for name, pick in PREDICTORS.items():
        pairs = [(value, lost[cell]) for cell, run in task.runs.items() if (value := pick(run)) is not None]
        varied = len(pairs) >= FEWEST and all(len(set(column)) > 1 for column in zip(*pairs, strict=True))
        found[name] = float(stats.spearmanr(*zip(*pairs, strict=True)).statistic) if varied else None
    return Row(len(lost), found)
