"""Methods as a whole, written out: a table for each suite and held-out text, and the same figures as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retain.compare.method_curves import Line, Whole
from retain.compare.trade_off import MARGIN
from retain.records import numbers
from retain.records.metric import Metric
from retain.report.tables.scores_table import Table

EXPLAINED = (
    "Each method's learning rates together, so that methods are compared and not how well each was tuned; means over "
    "seeds. Area (hypervolume): what the settings cover above the reference point named beneath the table; more is "
    "better, and trying more settings can only add to it. At equal gain: the largest gain that every method with "
    "several rates reaches, those aside that gained nothing; read off between neighbouring learning rates, on a "
    "straight line, the best where a method comes by several times. Its [95%] are the ends of the neighbours' "
    "intervals, read off alike, so how surely the gain itself is known is not in it. Safe rates depend on which rates "
    "were swept: sweep each method over the same number of equal steps around its own best."
)


def whole_tables(found: Sequence[Whole]) -> list[Table]:
    """One table for each thing kept, one row a method."""
    return [_table(whole) for whole in found]


def _table(whole: Whole) -> Table:
    kept = "Retention" if whole.axis.suite else "KL"
    at = "equal gain" if whole.level is None else _gain(whole, whole.level)
    head = ("Method", "Runs", "Rates", "Area", f"{kept} at {at} [95%]", "Safe rates")
    name = "held-out text" if whole.axis.suite is None else _named(whole.axis.suite)
    caption = f"{name}, against the gain on {_named(whole.task)}"
    return Table(caption, head, tuple(_row(whole, line) for line in whole.lines), _note(whole))


def _row(whole: Whole, line: Line) -> tuple[str, ...]:
    area = _area(whole.task[1].unit.factor * line.hypervolume)
    safe = numbers.MISSING if line.safe is None else f"{round(line.safe[0] * line.safe[1])} of {line.safe[1]}"
    return (line.title, str(line.runs), rates_cell(line), area, matched_cell(whole, line), safe)


def _area(value: float) -> str:
    """Three digits, trailing zeros too, so that a column's figures can be compared."""
    return numbers.count(round(value)) if value >= 100 else f"{value:#.3g}"


def rates_cell(line: Line) -> str:
    """The number of learning rates and their range: `3 (1e-4 to 5e-3)`."""
    rates = line.rates
    if not rates:
        return numbers.MISSING
    ends = list(dict.fromkeys(numbers.learning_rate(rate) for rate in (rates[0], rates[-1])))
    return f"{len(rates)} ({' to '.join(ends)})"


def matched_cell(whole: Whole, line: Line) -> str:
    """The retention of a method at the level, or the reason why there is none."""
    if whole.level is None:
        return numbers.MISSING
    if line.matched is None:
        return "gains more at every rate" if line.above else "not reached"
    if whole.axis.suite is None:
        return numbers.level(line.matched, line.matched_interval, numbers.NATS)
    return numbers.percent(line.matched, line.matched_interval)


def _named(key: tuple[str, Metric]) -> str:
    return f"{key[0]} ({key[1].title})"


def _gain(whole: Whole, gain: float) -> str:
    unit = whole.task[1].unit
    return f"a gain of {numbers.plain(gain, unit)} {unit.name}".rstrip()


def _note(whole: Whole) -> str:
    unit, suite = whole.task[1].unit, whole.axis.suite
    score = "" if whole.base is None else f" (the base's {numbers.plain(whole.base, unit)})"
    worst = (
        "retention 0"
        if suite
        else f"a KL of {numbers.plain(whole.held_out_text[1], numbers.NATS)}, the largest of any setting"
    )
    measured = f"{unit.name or 'gain'} times {'retention' if suite else 'KL'}"
    parts = [f"Reference point of the area: no gain on {whole.task[0]}{score} and {worst}; in {measured}."]
    if whole.level is None:
        parts.append("No method with several rates gained anything, so there is no level to compare at.")
    else:
        reached = "" if whole.base is None else f", a score of {numbers.plain(_score(whole), unit)}"
        parts.append(f"Compared at {_gain(whole, whole.level)}{reached}.")
    lost = (
        numbers.margin(MARGIN, numbers.POINTS)
        if suite
        else f"{numbers.plain(MARGIN, numbers.NATS)} nats per token of the text's cross-entropy"
    )
    parts.append(f"Safe: no more than {lost} lost.")
    return " ".join(parts)


def _score(whole: Whole) -> float | None:
    """The task score at the level."""
    return None if whole.base is None or whole.level is None else whole.base + whole.sign * whole.level


def whole_data(found: Sequence[Whole]) -> list[dict[str, Any]]:
    """The same as plain values: gains are improvements over the base, in the metric's own unit."""
    return [
        {
            "task": _key_data(whole.task),
            "keep": None
            if whole.axis.suite is None
            else {"name": whole.axis.suite[0], "metric": whole.axis.suite[1].name},
            "kept": "retention" if whole.axis.suite else "kl_nats_per_token",
            "reference_point": {"gain": whole.held_out_text[0], "task": whole.base, "kept": whole.held_out_text[1]},
            "level": None if whole.level is None else {"gain": whole.level, "task": _score(whole)},
            "margin": MARGIN,
            "methods": [_method_data(line) for line in whole.lines],
        }
        for whole in found
    ]


def _key_data(key: tuple[str, Metric]) -> dict[str, str]:
    return {"name": key[0], "metric": key[1].name}


def _method_data(line: Line) -> dict[str, Any]:
    return {
        "method": line.title,
        "runs": line.runs,
        "learning_rates": line.rates,
        "curve": [{"learning_rate": stop.rate, "gain": stop.gain, "kept": stop.kept} for stop in line.stops],
        "hypervolume": line.hypervolume,
        "kept_at_level": line.matched,
        "kept_at_level_interval": line.matched_interval,
        "above_level_at_every_rate": line.above,
        "safe_band": None if line.safe is None else line.safe[0],
    }
