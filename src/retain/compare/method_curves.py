"""Methods as a whole: each method's swept learning rates as one curve, put beside the others' along the same axes.

The axes are those of the trade-off's drawing: what was gained on the first task against what was kept of one suite, as
retention; or, for held-out text, against the KL, of which less is better.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from retain.compare.aggregate import Group
from retain.compare.pick import (
    Key,
    Pick,
    keep_keys,
    keep_score,
    model_name,
    pick_ce_drift,
    pick_keep,
    pick_keep_field,
    pick_kl,
    pick_task,
    pick_task_field,
    sign_of,
    task_keys,
)
from retain.compare.trade_off import Point, hypervolume, interpolated, place_at_matched_task, safe_band
from retain.records.base import Interval
from retain.records.result import Result

FEWEST_RATES = 2
"""Learning rates from which a method is a curve."""


@dataclass(frozen=True)
class Axis:
    """The measure of retention: that of a suite's first metric, or (no suite) the KL on held-out text.

    `lost` is the change that the safe band bounds, as a share, or in nats per token: `sign` turns losses downwards.
    """

    suite: Key | None
    kept: Pick
    lost: Pick
    sign: float
    scale: float

    @property
    def up(self) -> float:
        """1 where more of `kept` is better, −1 for the KL."""
        return 1.0 if self.suite else -1.0


@dataclass(frozen=True)
class Stop:
    """One learning rate of a method: means over its settings (and their seeds) of that rate."""

    rate: float | None
    runs: int
    gain: float
    kept: float
    interval: Interval | None
    lost: float | None


@dataclass(frozen=True)
class Line:
    """One method as a whole.

    Attributes:
        title: of the method.
        stops: its learning rates in order.
        hypervolume: area above the reference point, in the task's unit times that of what was kept.
        matched: what was kept where the method has gained as much as the level; None where it has not.
        matched_interval: the ends of the neighbouring settings' intervals, interpolated alike.
        above: whether it has gained more than the level at every rate, so that it never met it.
        safe: the share of its rates that is safe, with the number of rates it is of; None where nothing tells.
    """

    title: str
    stops: tuple[Stop, ...]
    hypervolume: float
    matched: float | None
    matched_interval: Interval | None
    above: bool
    safe: tuple[float, int] | None

    @property
    def runs(self) -> int:
        """The number of runs that it rests on."""
        return sum(stop.runs for stop in self.stops)

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates swept; a run of unknown rate is none."""
        return tuple(stop.rate for stop in self.stops if stop.rate is not None)


@dataclass(frozen=True)
class Whole:
    """All methods along one pair of axes. `held_out_text` is (gain 0, retention 0), or (gain 0, the largest KL).

    `level` is the gain at which the methods are matched; None where no method with a curve gained anything. `base` is
    the task score of the unchanged base, None where the runs' bases differ; `sign` is −1 where less of it is better.
    """

    task: Key
    sign: float
    base: float | None
    axis: Axis
    held_out_text: Point
    level: float | None
    lines: tuple[Line, ...]


def wholes(groups: Sequence[Group]) -> list[Whole]:
    """The methods as a whole on each scored suite and on held-out text; none where no method was swept."""
    results = [result for group in groups for result in group.results]
    tasks = task_keys(results)
    if not tasks:
        return []
    found = (_whole(groups, tasks[0], axis) for axis in _axes(results))
    return [whole for whole in found if whole is not None]


def _axes(results: Sequence[Result]) -> list[Axis]:
    """The first metric of each suite that has a retention, then held-out text."""
    first: dict[str, Key] = {}
    for key in keep_keys(results):
        scores = [score for result in results if (score := keep_score(result, key)) is not None]
        if any(score.retention is not None for score in scores):
            first.setdefault(key[0], key)
    axes = [
        Axis(key, pick_keep_field(key, "retention"), pick_keep(key), sign_of(results, key), _share(key))
        for key in first.values()
    ]
    return [*axes, Axis(None, pick_kl, pick_ce_drift, -1.0, 1.0)]


def _share(key: Key) -> float:
    """The factor that turns a suite's change into a share of the metric's range; 1 where that is not known."""
    return 1.0 if key[1].span is None else 1.0 / key[1].span


def _whole(groups: Sequence[Group], task: Key, axis: Axis) -> Whole | None:
    results = [result for group in groups for result in group.results]
    sign = sign_of(results, task)
    curves = {title: stops for title, own in _methods(groups).items() if (stops := _stops(own, task, sign, axis))}
    swept = [stops for stops in curves.values() if len({stop.rate for stop in stops} - {None}) >= FEWEST_RATES]
    if not swept:
        return None
    reached = [best for stops in swept if (best := max(stop.gain for stop in stops)) > 0]
    level = min(reached, default=None)
    worst = 0.0 if axis.suite else max(stop.kept for stops in curves.values() for stop in stops)
    held_out_text = (0.0, worst)
    bases = {base[0] for result in results if (base := pick_task_field(task, "base")(result)) is not None}
    lines = tuple(_line(title, stops, axis, held_out_text, level) for title, stops in curves.items())
    return Whole(task, sign, bases.pop() if len(bases) == 1 else None, axis, held_out_text, level, lines)


def _methods(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """The settings of each method; of several bases, of each method on each."""
    bases = [group.results[0].provenance.model_hash or group.results[0].model for group in groups]
    found: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group, base in zip(groups, bases, strict=True):
        found[group.method, base].append(group)
    several = len(set(bases)) > 1
    titles: dict[str, list[Group]] = {}
    for (method, base), own in found.items():
        title = f"{method} on {model_name(own[0].results[0].model)}" if several else method
        titles[title if title not in titles else f"{title} ({base[:8]})"] = own
    return titles


def _stops(groups: Sequence[Group], task: Key, sign: float, axis: Axis) -> tuple[Stop, ...]:
    """The means at each learning rate, in order; settings that lack either figure are left out."""
    at: dict[float | None, list[Stop]] = defaultdict(list)
    for group in groups:
        gain, kept, lost = (group.estimate(pick) for pick in (pick_task(task), axis.kept, axis.lost))
        if gain is not None and kept is not None:
            change = None if lost is None else axis.sign * axis.scale * lost.mean
            rate = group.learning_rate
            at[rate].append(Stop(rate, len(group.runs), sign * gain.mean, kept.mean, kept.interval, change))
    return tuple(_merged(at[rate]) for rate in sorted(at, key=lambda rate: (rate is None, rate or 0.0)))


def _merged(stops: Sequence[Stop]) -> Stop:
    """Settings of one rate (runs of unknown seed stand alone) as one stop."""
    if len(stops) == 1:
        return stops[0]
    ends = [stop.interval for stop in stops if stop.interval is not None]
    lost = [stop.lost for stop in stops if stop.lost is not None]
    whole = len(ends) == len(stops)
    return Stop(
        stops[0].rate,
        sum(stop.runs for stop in stops),
        fmean(stop.gain for stop in stops),
        fmean(stop.kept for stop in stops),
        (fmean(low for low, _ in ends), fmean(high for _, high in ends)) if whole else None,
        fmean(lost) if len(lost) == len(stops) else None,
    )


def _line(title: str, stops: tuple[Stop, ...], axis: Axis, held_out_text: Point, level: float | None) -> Line:
    points = [(stop.gain, axis.up * stop.kept) for stop in stops]
    area = hypervolume(points, (held_out_text[0], axis.up * held_out_text[1]))
    place = None if level is None else place_at_matched_task(points, level)
    kept, interval = None, None
    if place is not None:
        kept = interpolated([stop.kept for stop in stops], place)
        ends = [stop.interval for stop in stops[place[0] : place[0] + (2 if place[1] else 1)]]
        given = [end for end in ends if end is not None]
        if len(given) == len(ends):
            at = (0, place[1])
            interval = (interpolated([low for low, _ in given], at), interpolated([high for _, high in given], at))
    above = level is not None and all(stop.gain > level for stop in stops)
    known = [(stop.rate, stop.lost) for stop in stops if stop.rate is not None and stop.lost is not None]
    safe = (safe_band([rate for rate, _ in known], [lost for _, lost in known]), len(known)) if known else None
    return Line(title, stops, area, kept, interval, above, safe)
