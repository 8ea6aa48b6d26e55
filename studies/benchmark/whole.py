"""Methods as a whole against tuned LoRA: hypervolume and what is kept at equal gain, as ratios with intervals.

Items are drawn in pairs (both models, and all methods, on the same draw). The luck of training is drawn beside them:
the mean over a rate's n seeds by Student's t with n − 1 degrees of freedom, gain and retention together, as a bootstrap
of three or four seeds gives intervals that are far too narrow. A rate with a single seed is taken to vary as the seeds
of the chosen rate do, in proportion to how far it moved from the base, and at most as much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from evidence import TEXT, Draws, Floats, Task, by_rate, gain, kept, text_kl
from plan import BETWEEN, LORA

from retain.records.base import Interval
from retain.stats.holm import holm

DRAWS, SEED = 20_000, 0
"""Draws: so many that p-values about .004 are known to a tenth; for smaller ones `sharper` draws more."""

ENOUGH_SEEDS = 3
SWEPT = 3
"""Learning rates of a whole sweep; with fewer a method covers less by that alone, so it has no figure."""
LEVELS = (0.8, 0.9, 0.95, 0.98)
"""Shares of the largest gain that both reach, at which what is kept is told beside it."""
ON_A_LINE = np.linspace(0, 1, 2001)
OUTSIDE = 2.5
"""Percent of the draws on each side of an interval."""


@dataclass(frozen=True)
class Ratio:
    """A figure by LoRA's.

    Attributes:
        value: the ratio.
        interval: of 95 %, where both have a rate with enough seeds.
        p: of the draws, for a ratio of 1.
        adjusted: p after Holm over all methods, suites and figures of the task.
        firm: every rate of both has enough seeds; else the spread of some is assumed and nothing is called shown.
        levels: the same at `LEVELS` of the gain, for what is kept at equal gain; NaN where a curve does not meet one.
        lines: a hypervolume's ratio where neighbouring rates are joined by straight lines.
        worst: the same if LoRA covered the most that it may between its rates.
        drawn: the ratio in every draw but the first, of items and of the luck of training; NaN where there is none.
    """

    value: float
    interval: Interval | None
    p: float | None
    adjusted: float | None = None
    firm: bool = False
    levels: tuple[float, ...] = ()
    lines: float | None = None
    worst: float | None = None
    drawn: Floats | None = field(default=None, compare=False, repr=False)

    @property
    def shown(self) -> bool:
        """It differs from 1 after Holm, and rests on enough seeds throughout."""
        return self.firm and self.adjusted is not None and self.adjusted < 0.05


@dataclass(frozen=True)
class Curve:
    """A method's rates in every draw: (rates, draws) of what was gained and of what was kept."""

    rates: tuple[float, ...]
    seeds: int
    fewest: int
    gain: Floats
    kept: Floats


def curve(
    task: Task, method: str, suite: str, draws: Draws, generator: np.random.Generator, *, swept: int = SWEPT
) -> Curve | None:
    """A method's curve; None where it has fewer rates than a sweep. No more than all of a suite is kept.

    A suite that got better counts as kept, since otherwise being lucky with it would be paid for.
    """
    rates = by_rate(task, method)
    if len(rates) < swept:
        return None
    pairs = [
        np.stack([[gain(task, run, draws), kept(task, run, draws, suite)] for run in runs]) for runs in rates.values()
    ]
    most = max(pairs, key=len)
    spread, unmoved = Spread.of(most, generator), np.array([0.0, 0.0 if suite == TEXT else 1.0])
    points = []
    for own in pairs:
        if own is most or len(own) > 1:
            off = (spread if own is most else Spread.of(own, generator)).drawn(len(own))
        else:
            off = spread.drawn(1) * moved_by(own, most, unmoved)[:, None]
        points.append(own.mean(axis=0) + off)
    found = np.stack(points)
    most_kept = 0.0 if suite == TEXT else 1.0
    seeds = [len(own) for own in pairs]
    return Curve(tuple(rates), max(seeds), min(seeds), found[:, 0], np.minimum(found[:, 1], most_kept))


def moved_by(own: Floats, most: Floats, unmoved: Floats) -> Floats:
    """How far a rate moved each figure from the base, as a share of how far the chosen rate did; at most 1."""
    moved, chosen = (np.abs(runs[..., 0].mean(axis=0) - unmoved) for runs in (own, most))
    share: Floats = np.minimum(1.0, moved / np.where(chosen > 0, chosen, 1.0))
    return share


@dataclass(frozen=True)
class Spread:
    """How runs differ by their seeds alone: what is left of them without their mean, and what their variance may be.

    Attributes:
        left: (seeds, figures…, draws) without the mean over seeds.
        chi: (draws,) the root of a χ² of seeds − 1 degrees of freedom.
        generator: draws.
    """

    left: Floats
    chi: Floats
    generator: np.random.Generator

    @classmethod
    def of(cls, runs: Floats, generator: np.random.Generator) -> Spread:
        """That of some runs of one rate, (seeds, figures…, draws)."""
        chi = np.sqrt(generator.chisquare(max(len(runs) - 1, 1), size=runs.shape[-1]))
        return cls(runs - runs.mean(axis=0), chi, generator)

    def drawn(self, seeds: int) -> Floats:
        """By how much the mean of so many runs is off in each draw: Student's t; nothing in the first draw.

        Σ zᵢ rᵢ with standard normal zᵢ has the covariance (n − 1)S, S being that of the n runs; over χ it is S^½ t.
        """
        weights = self.generator.standard_normal((len(self.left), len(self.chi))) / (self.chi * np.sqrt(seeds))
        weights[:, 0] = 0.0
        off: Floats = np.einsum("sd,s...d->...d", weights, self.left)
        return off


def reference(task: Task, suite: str, draws: Draws) -> tuple[float, float]:
    """The worst of interest: no gain, and nothing left of a suite; of text the largest KL of LoRA's own runs.

    Were it the largest of all runs, each further method would change the ratios of those that were there.
    """
    if suite != TEXT:
        return (0.0, 0.0)
    return (0.0, -max(float(text_kl(task, run, draws)[0]) for run in task.runs.values() if run.cell.method == LORA))


def compared(
    task: Task, methods: Sequence[str], suite: str, draws: Draws, seed: int = SEED
) -> dict[str, dict[str, Ratio]]:
    """Each method's hypervolume, and what it keeps at equal gain, as ratios to LoRA's: {method: {figure: ratio}}.

    "matched" is retention by LoRA's for a suite, KL by LoRA's for text, at the largest gain that both reach; "lost" is
    the share of a suite that is lost there by LoRA's. Both are left out where a curve does not meet that gain, "lost"
    also where LoRA loses nothing.
    """
    curves = {
        name: found
        for index, name in enumerate(methods)
        if (found := curve(task, name, suite, draws, np.random.default_rng([seed, index]))) is not None
    }
    if LORA not in curves:
        return {}
    base = reference(task, suite, draws)
    between = curve(task, BETWEEN, suite, Draws(task, 0, seed), np.random.default_rng(seed), swept=1)
    area = areas(curves[LORA], base)
    ratios: dict[str, dict[str, Ratio]] = {name: {} for name in curves if name != LORA}
    for name, own in ratios.items():
        pair = curves[name], curves[LORA]
        few = min(one.seeds for one in pair) < ENOUGH_SEEDS
        firm = min(one.fewest for one in pair) >= ENOUGH_SEEDS
        whole = ratio_of(areas(curves[name], base), area, few=few)
        own["hypervolume"] = replace(
            whole, firm=firm, lines=by_lines(*pair, base), worst=at_worst(*pair, base, between)
        )
        ours, theirs = matched(*pair)
        if not np.isfinite([ours[0], theirs[0]]).all():
            continue
        sign = -1 if suite == TEXT else 1
        levels = tuple(at_level(*pair, share, part=suite != TEXT) for share in LEVELS)
        own["matched"] = replace(ratio_of(sign * ours, sign * theirs, few=few), firm=firm, levels=levels)
        if suite != TEXT and theirs[0] < 1:
            own["lost"] = replace(ratio_of(1 - ours, 1 - theirs, few=few), firm=firm)
    return ratios


def areas(found: Curve, base: tuple[float, float]) -> Floats:
    """(draws,) the area that a curve's points dominate above a reference: `retain.compare.trade_off`'s hypervolume."""
    order = np.argsort(-found.gain, axis=0)
    wide = np.maximum(np.take_along_axis(found.gain, order, axis=0) - base[0], 0.0)
    high = np.maximum(np.take_along_axis(found.kept, order, axis=0) - base[1], 0.0) * (wide > 0)
    reached = np.maximum.accumulate(high, axis=0)
    return np.asarray((wide * np.diff(reached, axis=0, prepend=0.0)).sum(axis=0))


def by_lines(one: Curve, other: Curve, base: tuple[float, float]) -> float:
    """The ratio of both areas where each curve is joined by straight lines: it depends less on where rates were put."""
    return first_ratio(joined(one), joined(other), base)


def at_worst(one: Curve, other: Curve, base: tuple[float, float], between: Curve | None = None) -> float:
    """The ratio of `one`'s points to all that `other` may cover with more rates between its own.

    Of two neighbouring rates one gains more and one keeps more; a rate in between may do both, and neither better.

    Args:
        one: a method's curve.
        other: LoRA's.
        base: the reference of areas.
        between: rates of `other` that were run beside its sweep, so that less is left open.
    """
    curves = [other] if between is None else [other, between]
    rising = np.argsort([rate for each in curves for rate in each.rates])
    points = (
        np.concatenate([values[:, :1] for values in columns])[rising]
        for columns in ([each.gain for each in curves], [each.kept for each in curves])
    )
    gain, left = (np.maximum(values[:-1], values[1:]) for values in points)
    return first_ratio(one, replace(other, gain=gain, kept=left), base)


def first_ratio(one: Curve, other: Curve, base: tuple[float, float]) -> float:
    """The ratio of both areas in the first draw, which is that of the records."""
    above, below = (float(areas(found, base)[0]) for found in (one, other))
    return above / below if below > 0 else math.inf


def joined(found: Curve) -> Curve:
    """The curve of the first draw with points between neighbouring rates."""
    gain, left = (
        np.concatenate([a + (b - a) * ON_A_LINE for a, b in pairwise(values[:, 0])])[:, None]
        for values in (found.gain, found.kept)
    )
    return replace(found, gain=gain, kept=left)


def at_level(one: Curve, other: Curve, share: float, *, part: bool) -> float:
    """What `one` keeps by what `other` keeps at a share of the largest gain that both reach; NaN where one is not."""
    level = share * np.minimum(one.gain.max(axis=0), other.gain.max(axis=0))
    ours, theirs = (float(kept_at(found, level)[0]) for found in (one, other))
    if part:  # of which less than guessing is nothing
        ours, theirs = max(ours, 0.0), max(theirs, 0.0)
    return ours / theirs if theirs else math.nan


def matched(one: Curve, other: Curve) -> tuple[Floats, Floats]:
    """What both keep at the largest gain that both reach; NaN in draws in which one never meets it."""
    level = np.minimum(one.gain.max(axis=0), other.gain.max(axis=0))
    return kept_at(one, level), kept_at(other, level)


def kept_at(found: Curve, level: Floats) -> Floats:
    """The best that is kept at a gain, on straight lines between neighbouring rates: `retention_at_matched_task`."""
    met = [np.where(found.gain == level, found.kept, -np.inf).max(axis=0)]
    for index in range(len(found.rates) - 1):
        (x0, x1), (y0, y1) = found.gain[index : index + 2], found.kept[index : index + 2]
        inside = (np.minimum(x0, x1) < level) & (level < np.maximum(x0, x1))
        share = (level - x0) / np.where(inside, x1 - x0, 1.0)
        met.append(np.where(inside, y0 + (y1 - y0) * share, -np.inf))
    best = np.max(met, axis=0)
    return np.where(np.isfinite(best), best, np.nan)


def ratio_of(above: Floats, below: Floats, *, few: bool) -> Ratio:
    """The ratio with its interval; neither interval nor p with fewer seeds than a claim needs.

    A draw in which LoRA's figure is not above 0 counts as a ratio without end, one in which there is none against both
    ends of the interval: leaving such draws out would flatter it. Where that makes an end infinite, there is none.
    """
    there = np.isfinite(above) & np.isfinite(below)
    drawn = np.where(below > 0, above / np.where(below > 0, below, 1.0), np.inf)
    value, others = float(drawn[0]), np.where(there[1:], drawn[1:], np.nan)
    interval = None if few else interval_of(others)
    if not np.isfinite(value) or interval is None:
        return Ratio(value, None, None)
    return Ratio(value, interval, p_of(others), drawn=others)


def p_of(drawn: Floats) -> float:
    """The p-value of a ratio of 1 from draws, of which NaN counts against it."""
    there = ~np.isnan(drawn)
    beyond = min((~there | (drawn <= 1)).sum(), (~there | (drawn >= 1)).sum())
    return float(min(1.0, 2 * (1 + beyond) / (1 + len(drawn))))


def interval_of(drawn: Floats) -> Interval | None:
    """The interval of 95 % from draws, of which NaN counts against both ends; None where an end is infinite."""
    low = float(np.percentile(np.where(np.isnan(drawn), -np.inf, drawn), OUTSIDE, method="lower"))
    high = float(np.percentile(np.where(np.isnan(drawn), np.inf, drawn), 100 - OUTSIDE, method="higher"))
    return (low, high) if np.isfinite([low, high]).all() else None


def mean_interval(ratios: Sequence[Ratio]) -> Interval | None:
    """The interval of a geometric mean of ratios; None where one of them has no draws.

    Figures of one task are on the same draws of task items and of training, so their luck is not taken to even out.
    """
    drawn = [one.drawn for one in ratios if one.drawn is not None]
    if not drawn or len(drawn) < len(ratios):
        return None
    with np.errstate(divide="ignore"):
        return interval_of(np.exp(np.mean(np.log(drawn), axis=0)))


def with_holm(ratios: Mapping[str, Mapping[str, Mapping[str, Ratio]]]) -> dict[str, dict[str, dict[str, Ratio]]]:
    """The p-values of a task adjusted over its suites, methods and figures; "lost" is "matched" once more.

    Args:
        ratios: {suite: {method: {figure: ratio}}}.
    """
    tested = [
        (suite, method, figure)
        for suite, methods in ratios.items()
        for method, own in methods.items()
        for figure, ratio in own.items()
        if figure != "lost" and ratio.p is not None
    ]
    adjusted = dict(zip(tested, holm([float(ratios[a][b][c].p or 0.0) for a, b, c in tested]), strict=True))
    return {
        suite: {
            method: {
                figure: replace(one, adjusted=adjusted.get((suite, method, figure))) for figure, one in own.items()
            }
            for method, own in methods.items()
        }
        for suite, methods in ratios.items()
    }
