"""A sequence of tasks, from the records of its stages: the accuracy of each stage on every task, and forgetting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retain.errors import InputError
from retain.jobs.output_place import output_problem
from retain.records.base import Interval
from retain.records.files import write_text
from retain.records.items import Item, read_items
from retain.records.lock import output_folder
from retain.records.metric import Metric
from retain.records.paths import expanded
from retain.records.result import Result, read_result
from retain.records.scores import KeepScore, TaskScore
from retain.stats import continual as sequence

Right = NDArray[np.bool_]


@dataclass(frozen=True)
class SequenceReport:
    """Accuracy and forgetting over a sequence of tasks.

    Attributes:
        tasks: the suites, in the order in which they were learned.
        stages: "base" and the runs.
        matrix: for each stage the share right on each task.
        average: ACC, mean of the last row, with its interval.
        backward: BWT, below 0 for loss (Lopez-Paz and Ranzato, 2017).
        forgetting: best earlier row minus the last (Chaudhry et al., 2018), the base's row left out.
        forgetting_with_base: the same with the base's row.
        forward: FWT against the base.
    """

    tasks: tuple[str, ...]
    stages: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]
    average: tuple[float, Interval]
    backward: tuple[float, Interval] | None
    forgetting: tuple[float, Interval] | None
    forgetting_with_base: tuple[float, Interval] | None
    forward: tuple[float, Interval] | None


def read_sequence(runs: Sequence[str | Path], tasks: Sequence[str]) -> SequenceReport:
    """Read the records of all stages into one report.

    Each stage is a record of base against the model after that stage (`retain measure`), with all tasks' test items
    among its suites; task j is what stage j learned.

    Args:
        runs: the stages' folders, in order.
        tasks: names of the suites, in the order in which the stages learned them.

    Raises:
        InputError: with every problem: records that are missing, of different bases, without one of the suites, or of
            other items.
    """
    problems: list[str] = []
    if len(runs) != len(tasks):
        problems.append(f"{len(runs)} stages and {len(tasks)} tasks: give one run for each task, in the same order.")
    stages = [_stage(expanded(run), tasks, problems) for run in runs]
    if problems:
        raise InputError(problems)
    hashes = {stage[0] for stage in stages}
    if len(hashes) > 1:
        raise InputError("the stages do not share one base model: measure each against the same base.")
    right = [_rows(task, [stage[1][task] for stage in stages]) for task in tasks]
    matrix = sequence.accuracy_matrix(right)
    found, with_base = (
        sequence.intervals(right, np.random.default_rng(0), include_base=include) for include in (False, True)
    )
    return SequenceReport(
        tasks=tuple(tasks),
        stages=("base", *(Path(run).name for run in runs)),
        matrix=tuple(tuple(map(float, row)) for row in matrix),
        average=(sequence.average_accuracy(matrix), found.average),
        backward=_pair(sequence.backward_transfer(matrix), found.backward),
        forgetting=_pair(sequence.forgetting(matrix), found.forgetting),
        forgetting_with_base=_pair(sequence.forgetting(matrix, include_base=True), with_base.forgetting),
        forward=_pair(sequence.forward_transfer(matrix), found.forward),
    )


def write_sequence(report: SequenceReport, path: Path) -> None:
    """Write the report as JSON, atomically.

    Raises:
        InputError: another file is there, which retain did not write.
    """
    if problems := sequence_file_problem(path):
        raise InputError(problems)
    with output_folder(path.parent, [path.name]):
        write_text(path, json.dumps(asdict(report), indent=2) + "\n")


def sequence_file_problem(path: Path) -> list[str]:
    """The reason why no file can be written there."""
    return [f"output: {path} is a folder; give the name of a file."] if path.is_dir() else output_problem(path.parent)


def _pair(value: float | None, interval: Interval | None) -> tuple[float, Interval] | None:
    return None if value is None or interval is None else (value, interval)


@dataclass(frozen=True)
class Sides:
    """The items of one task at one stage, and the name of the metric by which they are right or wrong."""

    items: Sequence[Item]
    metric: str

    def right(self, side: Literal["base", "tuned"]) -> list[bool]:
        """Right or wrong of each item."""
        return [getattr(item, side).scores[self.metric] == 1 for item in self.items]


def _stage(folder: Path, tasks: Sequence[str], problems: list[str]) -> tuple[str, dict[str, Sides]]:
    try:
        result = read_result(folder / "result.json")
    except InputError as error:
        problems += error.problems
        return "", {}
    if not (folder / "items.jsonl").is_file():
        problems.append(f"{folder}: items.jsonl is missing; stages are paired item by item.")
        return "", {}
    items: dict[str, list[Item]] = {task: [] for task in tasks}
    for item in read_items(folder / "items.jsonl"):
        if item.suite in items:
            items[item.suite].append(item)
    right: dict[str, Sides] = {}
    for task, found in items.items():
        metric = _metric(result, task, found)
        if not found:
            problems.append(f"{folder}: has no suite {task!r}; measure every stage on all tasks.")
        elif metric is None:
            problems.append(f"{folder}: the items of {task!r} are not right or wrong, which a matrix of tasks needs.")
        else:
            right[task] = Sides(found, metric.name)
    return result.provenance.model_hash, right


def _metric(result: Result, task: str, items: Sequence[Item]) -> Metric | None:
    """The first right-or-wrong metric of a suite in which every item is 0 or 1."""
    scores: list[TaskScore | KeepScore] = [*result.task, *result.keep]
    metrics = (score.metric for score in scores if score.name == task and score.metric.right_or_wrong)
    values = {0, 1}
    return next((m for m in metrics if all(item.tuned.scores.get(m.name) in values for item in items)), None)


def _identity(item: Item) -> tuple[object, ...]:
    """The identity of an item: its text, or its place and group where the text is withheld."""
    return (item.index, item.group) if item.withheld else (item.question, item.expected)


def _rows(task: str, stages: Sequence[Sides]) -> Right:
    """Right or wrong of each item (stages + 1, items), row 0 the base."""
    questions = {tuple(map(_identity, stage.items)) for stage in stages}
    if len(questions) > 1:
        raise InputError(f"{task}: the stages were measured on different items; measure all with the same data.")
    return np.asarray([stages[0].right("base"), *(stage.right("tuned") for stage in stages)], dtype=bool)
