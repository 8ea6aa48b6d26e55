"""Certificates: whether control data show that no more is lost than may be, and at which interpolation coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from retain.errors import InputError
from retain.recipe import KL
from retain.records.metric import Metric
from retain.stats import bounds, net_loss, planning
from retain.stats.bounds import Floats

Unit = Literal["points", "nats"]

CLIP_FACTOR = 5
"""A unit's loss in nats is cut at so many times the limit."""

LEAST_CLIP = 0.05
"""Nats at which losses are cut where the limit is 0, which gives no measure."""

EXACT = "exact test of paired right-or-wrong items"
BETTING = "betting test of a bounded mean"


@dataclass(frozen=True, eq=False)
class ControlLosses:
    """The losses on the control data of one limit.

    Attributes:
        name: of what may not be lost, for instance a suite.
        metric: the metric in which it would be lost.
        unit: of limit and losses; points are shares here, 0.02 for 2 points.
        limit: the mean loss that is allowed, ≥ 0.
        losses: (n,) base minus tuned, one for each independent unit, positive = lost. For items that come in groups the
            mean over each group; each group then counts once.
        right_or_wrong: every loss is −1, 0 or 1 and units are single items, so that the exact test applies.
        smallest: no loss can be smaller.
        largest: no loss can be larger.
        clipped: units whose loss was cut to this range.
        uncut: mean loss before anything was cut; None where nothing is.

    Raises:
        InputError: no losses, losses that are not finite or leave the range, a limit that cannot be meant.
    """

    name: str
    metric: Metric
    unit: Unit
    limit: float
    losses: Floats
    right_or_wrong: bool
    smallest: float = -1.0
    largest: float = 1.0
    clipped: int = 0
    uncut: float | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.losses, dtype=np.float64)
        problems = []
        if not 0 <= self.limit < self.largest:
            most = f"{100 * self.largest:g} points" if self.unit == "points" else f"{self.largest:g} nats"
            problems.append(f"{self.name}: a limit of {_amount(self.limit, self.unit)} is not from 0 to below {most}.")
        if values.ndim != 1 or not len(values):
            problems.append(f"{self.name}: no losses (shape {values.shape}); give control items.")
        elif not np.isfinite(values).all():
            problems.append(f"{self.name}: {(~np.isfinite(values)).sum()} of {len(values)} losses are not finite.")
        elif values.min() < self.smallest or values.max() > self.largest:
            problems.append(f"{self.name}: losses must lie between {self.smallest:g} and {self.largest:g}.")
        elif self.right_or_wrong and not np.isin(values, (-1, 0, 1)).all():
            problems.append(f"{self.name}: right-or-wrong losses must be -1, 0 or 1.")
        if problems:
            raise InputError(problems)


def nats_losses(name: str, metric: Metric, limit: float, losses: Floats, *, signed: bool = False) -> ControlLosses:
    """Losses in nats, cut so that something can be promised.

    For a mean of losses without an upper end no finite sample gives a bound (Bahadur and Savage, Ann. Math. Stat. 27,
    1956): one window in a million may hold it all. So each unit's loss is cut at `CLIP_FACTOR` times the limit, and
    what is promised is the mean of the losses cut there. Below, it is cut at 0 (a KL is never negative) or, where it
    may be, at minus the same, which can only raise the mean.

    Args:
        name: of what may not be lost.
        metric: the metric in which it would be lost.
        limit: mean loss allowed, nats.
        losses: (n,) nats, one for each window or text.
        signed: the loss may be negative, as a difference of cross-entropies is.

    Raises:
        InputError: as `ControlLosses`; NaN is refused, not cut.
    """
    top = CLIP_FACTOR * limit if limit > 0 else LEAST_CLIP
    low = -top if signed else 0.0
    values = np.asarray(losses, dtype=np.float64)
    clipped = int((values > top).sum()) + (int((values < low).sum()) if signed else 0)
    cut = np.clip(values, low, top)
    return ControlLosses(
        name,
        metric,
        "nats",
        limit,
        cut,
        right_or_wrong=False,
        smallest=low,
        largest=top,
        clipped=clipped,
        uncut=float(values.mean()) if len(values) else None,
    )


@dataclass(frozen=True)
class Certificate:
    """The result of testing one limit on control data at one interpolation coefficient.

    Attributes:
        name: of what may not be lost.
        metric: the metric in which it would be lost.
        unit: of limit, observed and bound; points are shares.
        limit: the mean loss that is allowed.
        confidence: probability with which a loss of limit or more is not called kept.
        n: independent units.
        observed: mean loss, in the unit; nothing is cut from it.
        bound: upper confidence bound of the mean loss (as cut), in the unit; at most limit where kept, and never below
            what is observed.
        p_value: of "the mean loss (as cut) is limit or more".
        kept: p ≤ 1 − confidence, and the loss observed, with nothing cut, is within the limit.
        method: which test, in words.
        clipped: units whose loss was cut.
        items_needed: units in all that would settle it if it went on as observed; None where it is kept, where the
            observed loss is not below limit, or where it would take over a million.
        fewest: units it takes even if nothing is lost; None for a limit of 0.
    """

    name: str
    metric: Metric
    unit: Unit
    limit: float
    confidence: float
    n: int
    observed: float
    bound: float
    p_value: float
    kept: bool
    method: str
    clipped: int
    items_needed: int | None
    fewest: int | None = None


def certify(data: ControlLosses, confidence: float) -> Certificate:
    """Test whether the control data show, with this confidence, that the mean loss is below the limit.

    If it is limit or more, "kept" is said with probability at most 1 − confidence, whatever the data are like.

    Args:
        data: losses on control data which neither training nor calibration has seen.
        confidence: at least .5 and below 1.

    Raises:
        InputError: a confidence outside that.
    """
    if not 0.5 <= confidence < 1:
        raise InputError(f"a confidence of {confidence:g} was asked for; give at least 0.5 and below 1, such as 0.95.")
    losses, limit = np.asarray(data.losses, dtype=np.float64), data.limit
    find = _exact if data.right_or_wrong else _betting
    p_value, bound, needed, fewest = find(data, losses, confidence)
    observed = float(losses.mean()) if data.uncut is None else data.uncut
    kept = p_value <= 1 - confidence and observed <= limit
    bound = min(bound, limit) if kept else max(bound, limit)  # they differ by rounding only
    return Certificate(
        name=data.name,
        metric=data.metric,
        unit=data.unit,
        limit=limit,
        confidence=confidence,
        n=len(losses),
        observed=observed,
        bound=max(bound, observed),
        p_value=p_value,
        kept=kept,
        method=EXACT if data.right_or_wrong else BETTING,
        clipped=data.clipped,
        items_needed=None if kept or needed is None or observed >= limit else max(needed, len(losses) + 1),
        fewest=fewest,
    )


Found = tuple[float, float, int | None, int | None]


def _exact(data: ControlLosses, losses: Floats, confidence: float) -> Found:
    lost, gained, n, limit = int((losses > 0).sum()), int((losses < 0).sum()), len(losses), data.limit
    return (
        net_loss.net_loss_p_value(lost, gained, n, limit, confidence),
        net_loss.net_loss_bound(lost, gained, n, confidence),
        planning.items_to_certify(lost, gained, n, limit, confidence),
        planning.fewest_items_to_certify(limit, confidence),
    )


def _betting(data: ControlLosses, losses: Floats, confidence: float) -> Found:
    limit, ends = data.limit, (data.smallest, data.largest)
    return (
        bounds.mean_p_value(losses, limit, *ends),
        bounds.mean_bound(losses, confidence, *ends),
        planning.units_to_certify(losses, limit, confidence, *ends),
        planning.fewest_units_to_certify(limit, confidence, data.largest),
    )


def fixed_sequence(certificates_by_step: Sequence[Sequence[Certificate]]) -> int:
    """The number of leading steps that are certified: at each of them every limit is kept; the first failure ends it.

    Steps are interpolation coefficients in an order fixed before the control data were seen, the safest first. Each is
    tested at the full level (fixed-sequence testing, as in Angelopoulos, Bates, Candès, Jordan and Lei, Learn then
    Test, arXiv 2110.01052, §2.2): let j be the first step whose true loss breaks a limit. Any wrong step is certified
    only after j is, and that has probability at most 1 − confidence, since of the limits broken at j each is called
    kept no more often than that (an intersection-union test: all must be kept, so several limits need no correction).
    With probability confidence, therefore, *all* certified steps keep all limits, and any of them may be chosen by
    whatever criterion, the same data included. Losses need not rise along the scaling path; if they do not, steps
    behind a failure are missed, nothing more.

    Args:
        certificates_by_step: for each step the certificates of all limits.

    Returns:
        The number of leading certified steps; 0 leaves the base.

    Raises:
        ValueError: steps without a limit, or with different limits or confidences.
    """
    limits = [sorted((c.name, c.unit, c.limit, c.confidence) for c in step) for step in certificates_by_step]
    if any(not step or step != limits[0] for step in limits):
        raise ValueError("every step needs the same limits at the same confidence, and at least one.")
    failures = [k for k, step in enumerate(certificates_by_step) if not all(c.kept for c in step)]
    return failures[0] if failures else len(limits)


def sentence(certificate: Certificate) -> str:
    """One sentence: what was shown, or could not be, and how many items would settle it."""
    c = certificate
    data = (
        f"{100 * c.confidence:g}% confidence, {c.n} control {_units(c)}; limit {_amount(c.limit, c.unit, word=False)}"
    )
    if c.clipped:
        data += f"; {c.clipped} of the losses cut"
    if c.kept:
        return f"{c.name}: at most {_amount(c.bound, c.unit, up=True)} lost ({data}): kept."
    seen = f"observed {_amount(c.observed, c.unit, word=False)}, bound {_amount(c.bound, c.unit, up=True)} ({data})"
    return f"{c.name}: could not be shown: {seen}; {_advice(c)}."


def _advice(c: Certificate) -> str:
    if c.fewest is None:
        return "no number of items shows a loss of exactly 0, only the base itself keeps that; allow a little"
    if c.n < c.fewest:
        return f"with {c.n} {_units(c)} not even a model that lost nothing could be certified; give at least {c.fewest}"
    if c.items_needed is not None:
        return f"about {c.items_needed} {_units(c)} would settle it"
    if c.observed >= c.limit:
        return "the observed loss is not below the limit, so more of the same kind would not help"
    return f"the observed loss is so near the limit that over a million {_units(c)} would be needed"


def _units(c: Certificate) -> str:
    return "blocks of text" if c.name == KL else "items"


def _amount(value: float, unit: Unit, *, word: bool = True, up: bool = False) -> str:
    """A loss for people: points with one decimal, nats with three digits; a bound is rounded up."""
    scaled = 100 * value if unit == "points" else value
    if scaled == 0:
        text = "0"
    else:
        decimals = 1 if unit == "points" else max(0, 2 - int(np.floor(np.log10(abs(scaled)))))
        step = 10.0**-decimals
        text = f"{np.ceil(scaled / step - 1e-6) * step if up else scaled:.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{'0' if text == '-0' else text}{f' {unit}' if word else ''}"
