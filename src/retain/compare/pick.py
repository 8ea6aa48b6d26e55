"""One figure out of a record: which there are, and how each is taken out with its interval over items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retain.records.base import Interval
from retain.records.drift_record import Drift
from retain.records.metric import Metric
from retain.records.result import Result
from retain.records.scores import KeepScore, TaskScore

Key = tuple[str, Metric]
"""Which figure: the name of a task or suite, and the metric."""

Measured = tuple[float, Interval | None]
"""A figure of one run, with its interval over items where it has one."""

Pick = Callable[[Result], Measured | None]
"""Takes a figure out of a run's record; null where the run does not have it."""


def model_name(model: str) -> str:
    """The last part of a model's path or hub id."""
    return model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or model


def task_keys(results: Sequence[Result]) -> list[Key]:
    """Every task figure that any run has, in order of first appearance."""
    return list(dict.fromkeys((score.name, score.metric) for result in results for score in result.task))


def told_apart(key: Key, keys: Sequence[Key]) -> str:
    """A suite's name, with the metric where the suite has several among some keys."""
    several = sum(name == key[0] for name, _ in keys) > 1
    return f"{key[0]} ({key[1].title})" if several else key[0]


def keep_keys(results: Sequence[Result]) -> list[Key]:
    """Every keep figure that any run has, in order of first appearance."""
    return list(dict.fromkeys((score.name, score.metric) for result in results for score in result.keep))


def task_score(result: Result, key: Key) -> TaskScore | None:
    """A run's task score of that name and metric."""
    return next((score for score in result.task if (score.name, score.metric) == key), None)


def keep_score(result: Result, key: Key) -> KeepScore | None:
    """A run's keep score of that name and metric."""
    return next((score for score in result.keep if (score.name, score.metric) == key), None)


def pick_task(key: Key) -> Pick:
    """The change of a task metric, tuned − base."""

    def pick(result: Result) -> Measured | None:
        score = task_score(result, key)
        return None if score is None else (score.tuned - score.base, score.interval)

    return pick


def pick_task_field(key: Key, field: str) -> Pick:
    """Another figure of a task: `base`, `tuned`."""

    def pick(result: Result) -> Measured | None:
        score = task_score(result, key)
        return None if score is None else (float(getattr(score, field)), None)

    return pick


def sign_of(results: Sequence[Result], key: Key) -> float:
    """1 where a change upwards is better in that task or suite, −1 where it is worse."""
    scores = (task_score(result, key) or keep_score(result, key) for result in results)
    return next((1.0 if score.metric.higher_is_better else -1.0 for score in scores if score is not None), 1.0)


def pick_keep(key: Key) -> Pick:
    """The change of a retention suite's metric, tuned − base; null where the suite was not scored."""

    def pick(result: Result) -> Measured | None:
        score = keep_score(result, key)
        if score is None or score.base is None or score.tuned is None:
            return None
        return (score.tuned - score.base, score.interval)

    return pick


def pick_keep_field(key: Key, field: str) -> Pick:
    """Another figure of a retention suite: `base`, `tuned`, `lost`, `gained`, `retention`."""

    def pick(result: Result) -> Measured | None:
        score = keep_score(result, key)
        value = getattr(score, field, None)
        return None if value is None else (float(value), getattr(score, f"{field}_interval", None))

    return pick


def pick_drift(field: str, interval: str = "") -> Pick:
    """A figure of the drift, with the field of its interval where it has one."""

    def pick(result: Result) -> Measured | None:
        drift: Drift = result.drift
        value = getattr(drift, field)
        return None if value is None else (float(value), getattr(drift, interval) if interval else None)

    return pick


pick_kl = pick_drift("kl_nats_per_token", "kl_interval")
pick_ce_drift = pick_drift("ce_drift_nats_per_token", "ce_drift_interval")
pick_churn = pick_drift("churn", "churn_interval")
