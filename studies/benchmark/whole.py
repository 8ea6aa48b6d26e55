"""Methods as a whole against tuned LoRA: hypervolume and what is kept at equal gain, as ratios with intervals.

One bootstrap draws items and seeds together: items in pairs (both models, and all methods, on the same draw), the
seeds of the chosen rate with replacement. The other two rates have one seed each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from evidence import TEXT, Draws, Floats, Task, by_rate, gain, kept, text_kl
from plan import LORA

from retain.compare.trade_off import hypervolume, interpolated, place_at_matched_task
from retain.records.base import Interval
from retain.stats.holm import holm

DRAWS, SEED = 600, 0
ENOUGH_SEEDS = 3


@dataclass(frozen=True)
class Ratio:
    """A figure by LoRA's; `p` is that of the bootstrap for 1, `adjusted` after Holm over the methods compared."""

    value: float
    interval: Interval | None
    p: float | None
    adjusted: float | None = None


@dataclass(frozen=True)
class Curve:
    """A method's rates in every draw: (rates, draws) of what was gained and of what was kept."""

    rates: tuple[float, ...]
    seeds: int
    gain: Floats
    kept: Floats

    def points(self, draw: int) -> list[tuple[float, float]]:
        """(gain, kept) at each rate in one draw."""
        return [(float(x), float(y)) for x, y in zip(self.gain[:, draw], self.kept[:, draw], strict=True)]


def curve(task: Task, method: str, suite: str, draws: Draws, generator: np.random.Generator) -> Curve | None:
    """A method's curve, the seeds of a rate drawn with replacement; None where it has no run."""
    rates = by_rate(task, method)
    if not rates:
        return None
    gains, left = [], []
    for runs in rates.values():
        x = np.stack([gain(task, run, draws) for run in runs])
        y = np.stack([kept(task, run, draws, suite) for run in runs])
        chosen = generator.integers(len(runs), size=(DRAWS + 1, len(runs)))
        chosen[0] = np.arange(len(runs))
        columns = np.arange(DRAWS + 1)[:, None]
        gains.append(x[chosen, columns].mean(axis=1))
        left.append(y[chosen, columns].mean(axis=1))
    return Curve(tuple(rates), max(map(len, rates.values())), np.stack(gains), np.stack(left))


def reference(task: Task, suite: str, draws: Draws) -> tuple[float, float]:
    """The worst of interest: no gain, and nothing left of a suite; of text the largest KL of any run of the task."""
    if suite != TEXT:
        return (0.0, 0.0)
    return (0.0, -max(float(text_kl(task, run, draws)[0]) for run in task.runs.values()))


def compared(task: Task, methods: Sequence[str], suite: str) -> dict[str, dict[str, Ratio]]:
    """Each method's hypervolume, and what it keeps at equal gain, as ratios to LoRA's: {method: {figure: ratio}}.

    "matched" is retention by LoRA's for a suite, KL by LoRA's for text, at the largest gain that both reach; "lost" is
    the share of a suite that is lost there by LoRA's. Both are left out where a curve does not meet that gain, "lost"
    also where LoRA loses nothing in some draw.
    """
    draws = Draws(task, DRAWS, SEED)
    base = reference(task, suite, draws)
    curves = {
        name: found
        for index, name in enumerate(methods)
        if (found := curve(task, name, suite, draws, np.random.default_rng([SEED, index]))) is not None
    }
    if LORA not in curves:
        return {}
    ratios: dict[str, dict[str, Ratio]] = {name: {} for name in curves if name != LORA}
    for name, own in ratios.items():
        few = min(curves[name].seeds, curves[LORA].seeds) < ENOUGH_SEEDS
        areas = [_areas(curves[one], base) for one in (name, LORA)]
        own["hypervolume"] = _ratio(areas[0], areas[1], few=few)
        at = np.asarray([_matched(curves[name], curves[LORA], draw) for draw in range(DRAWS + 1)])
        if np.isfinite(at[0]).all():
            own["matched"] = _ratio(at[:, 0], at[:, 1], few=few)
            if suite != TEXT and (at[:, 1] < 1).all():
                own["lost"] = _ratio(1 - at[:, 0], 1 - at[:, 1], few=few)
    return _with_holm(ratios)


def _areas(found: Curve, base: tuple[float, float]) -> Floats:
    return np.asarray([hypervolume(found.points(draw), base) for draw in range(DRAWS + 1)])


def _matched(one: Curve, other: Curve, draw: int) -> tuple[float, float]:
    """What both keep at the largest gain that both reach; NaN where one never meets it."""
    points = one.points(draw), other.points(draw)
    level = min(max(x for x, _ in curve_) for curve_ in points)
    found = []
    for curve_ in points:
        place = place_at_matched_task(curve_, level)
        found.append(np.nan if place is None else interpolated([y for _, y in curve_], place))
    return found[0], found[1]


def _ratio(above: Floats, below: Floats, *, few: bool) -> Ratio:
    """The ratio with its interval; neither interval nor p with fewer seeds than a claim needs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = above / below
    value, others = float(drawn[0]), drawn[1:][np.isfinite(drawn[1:])]
    if few or len(others) < len(drawn) - 1:  # an interval over the draws in which LoRA keeps anything would flatter it
        return Ratio(value, None, None)
    low, high = np.percentile(others, [2.5, 97.5])
    p = min(1.0, 2 * (1 + min((others <= 1).sum(), (others >= 1).sum())) / (1 + len(others)))
    return Ratio(value, (float(low), float(high)), float(p))


def _with_holm(ratios: dict[str, dict[str, Ratio]]) -> dict[str, dict[str, Ratio]]:
    """The p-values of each figure adjusted over the methods."""
    for figure in ("hypervolume", "matched", "lost"):
        names = [name for name, own in ratios.items() if figure in own and own[figure].p is not None]
        adjusted = holm([float(ratios[name][figure].p or 0.0) for name in names])
        for name, value in zip(names, adjusted, strict=True):
            old = ratios[name][figure]
            ratios[name][figure] = Ratio(old.value, old.interval, old.p, value)
    return ratios
