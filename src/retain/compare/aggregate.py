"""Many runs into few figures: runs of one setting grouped over their seeds, each figure with its mean and interval.

A setting is a model, a method with its configuration, how it was trained (regularisers, steps, …), and a learning rate.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtrit

from retain.compare.method_labels import config_key, method_labels, unique
from retain.compare.pick import Measured, model_name
from retain.compare.training_labels import training_fields, training_key, training_labels
from retain.records.base import Interval
from retain.records.numbers import learning_rate as write_rate
from retain.records.result import Result

_SETTING = "setting: "


@dataclass(frozen=True)
class NamedResult:
    """One run under the name that the report gives it (its folder's name, say)."""

    name: str
    result: Result


@dataclass(frozen=True)
class Estimate:
    """A figure of a group.

    Attributes:
        mean: the mean over the seeds.
        values: the figure of each seed.
        seeds: the Student-t 95% interval of the mean over seeds, from two seeds on.
        items: the runs' own intervals over items, their ends averaged.
    """

    mean: float
    values: tuple[float, ...]
    seeds: Interval | None
    items: Interval | None

    @property
    def interval(self) -> Interval | None:
        """The hull of both intervals: cautious about the seeds and about the sample of items."""
        ends = [interval for interval in (self.seeds, self.items) if interval is not None]
        return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None


@dataclass(frozen=True)
class Group:
    """The runs of one setting. `method` is unique to method, configuration and training, `title` to the setting."""

    method: str
    learning_rate: float | None
    title: str
    runs: tuple[NamedResult, ...]

    @property
    def seeds(self) -> int:
        """The number of different seeds; each run of unknown seed counts as one of its own."""
        return len({run.result.seed for run in self.runs})

    @property
    def results(self) -> tuple[Result, ...]:
        """The runs' records."""
        return tuple(run.result for run in self.runs)

    def estimate(self, pick: Callable[[Result], Measured | None]) -> Estimate | None:
        """The mean of a figure over seeds with its intervals; null where no run has the figure."""
        by_seed: dict[int | None, list[float]] = defaultdict(list)
        intervals = []
        for run in self.runs:
            found = pick(run.result)
            if found is not None:
                by_seed[run.result.seed].append(found[0])
                intervals.append(found[1])
        if not by_seed:
            return None
        values = tuple(fmean(of_seed) for of_seed in by_seed.values())
        return Estimate(fmean(values), values, student_interval(values), _mean_interval(intervals))


def student_interval(values: Sequence[float]) -> Interval | None:
    """The two-sided 95% interval of a mean, mean ± t(0.975, n − 1)·s/√n; null for fewer than two values."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    reach = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / math.sqrt(len(values))
    return (mean - reach, mean + reach)


def _mean_interval(intervals: Sequence[Interval | None]) -> Interval | None:
    given = [interval for interval in intervals if interval is not None]
    if not given or len(given) < len(intervals):
        return None
    return (fmean(low for low, _ in given), fmean(high for _, high in given))


def group_runs(runs: Sequence[NamedResult]) -> list[Group]:
    """Group runs over their seeds, ordered by first appearance of the method, then by learning rate.

    A run whose seed is unknown is a group of its own: nothing says that it differs from another by the seed alone.
    """
    trainings = [training_fields(run.result.training) for run in runs]
    names = zip(method_labels([run.result.method for run in runs]), training_labels(trainings), strict=True)
    labels = [f"{name} ({training})" if training else name for name, training in names]
    order = {label: position for position, label in reversed(list(enumerate(labels)))}
    members: dict[tuple[object, ...], list[NamedResult]] = defaultdict(list)
    label_of: dict[tuple[object, ...], str] = {}
    for position, (run, label, training) in enumerate(zip(runs, labels, trainings, strict=True)):
        result = run.result
        alone = position if result.seed is None else None
        base = result.provenance.model_hash or result.model
        method = (result.method.name, config_key(result.method.config), training_key(training))
        key = (base, *method, result.learning_rate, alone)
        members[key].append(run)
        label_of[key] = label
    keys = sorted(members, key=lambda key: (order[label_of[key]], members[key][0].result.learning_rate or 0.0))
    titles = unique([_title(label_of[key], members[key], members) for key in keys])
    return [
        Group(label_of[key], members[key][0].result.learning_rate, title, tuple(members[key]))
        for key, title in zip(keys, titles, strict=True)
    ]


def _title(label: str, group: Sequence[NamedResult], members: dict[tuple[object, ...], list[NamedResult]]) -> str:
    first = group[0]
    parts = [label]
    if first.result.learning_rate is not None:
        parts.append(write_rate(first.result.learning_rate))
    if len({key[0] for key in members}) > 1:
        parts.append(f"on {model_name(first.result.model)}")
    if first.result.seed is None and len(members) > 1:
        parts.append(f"({first.name})")
    return " ".join(parts)


def point_names(groups: Sequence[Group]) -> dict[str, str]:
    """A name without special characters for each run's point (`run-3`) and each setting's of several (`setting-1`)."""
    runs = [run for group in groups for run in group.runs]
    names = {run.name: f"run-{number}" for number, run in enumerate(runs, start=1)}
    return names | {
        f"{_SETTING}{group.title}": names[group.runs[0].name] if len(group.runs) == 1 else f"setting-{number}"
        for number, group in enumerate(groups, start=1)
    }


def setting_point(group: Group, names: dict[str, str]) -> str:
    """The name of a setting's own point."""
    return names[f"{_SETTING}{group.title}"]
