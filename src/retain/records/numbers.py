"""Figures in writing: the one home of units, signs and digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retain.records.base import Interval

MISSING = "—"
MINUS = "−"


@dataclass(frozen=True)
class Unit:
    """A unit in which figures are shown: multiplied by `factor`, with `decimals` digits, called `name`."""

    factor: float
    decimals: int
    name: str


POINTS = Unit(100.0, 1, "points")
HUNDREDTHS = Unit(1.0, 1, "points")
NATS = Unit(1.0, 3, "nats")
NATS_PER_TOKEN = Unit(1.0, 3, "nats per token")
OTHER = Unit(1.0, 3, "")


def plain(value: float | None, unit: Unit) -> str:
    """A score: `72.6`."""
    if value is None:
        return MISSING
    return f"{value * unit.factor:.{unit.decimals}f}".replace("-", MINUS)


def signed(value: float | None, unit: Unit) -> str:
    """A change, its sign that of the exact value: `+3.2`, `−0.1`; only an exact zero goes without."""
    if value is None:
        return MISSING
    sign = "" if value == 0 else (MINUS if value < 0 else "+")
    return f"{sign}{abs(value) * unit.factor:.{unit.decimals}f}"


def bracket(interval: Interval | None, unit: Unit, *, signs: bool = True) -> str:
    """An interval: `[−0.1, +6.4]`, or without signs where the figure is no change."""
    if interval is None:
        return ""
    write = signed if signs else plain
    return f"[{write(interval[0], unit)}, {write(interval[1], unit)}]"


def change(value: float | None, interval: Interval | None, unit: Unit) -> str:
    """A change with its interval: `+3.2 [−0.1, +6.4]`."""
    return f"{signed(value, unit)} {bracket(interval, unit)}".rstrip()


def level(value: float | None, interval: Interval | None, unit: Unit) -> str:
    """A figure that is no change, with its interval: `0.175 [0.160, 0.190]`."""
    return f"{plain(value, unit)} {bracket(interval, unit, signs=False)}".rstrip()


def percent(value: float | None, interval: Interval | None = None) -> str:
    """A share: `2.4%`, with its interval `97.1% [93.0, 101.2]`."""
    if value is None:
        return MISSING
    return f"{plain(value, POINTS)}% {bracket(interval, POINTS, signs=False)}".rstrip()


def margin(value: float, unit: Unit) -> str:
    """An allowed loss with its unit: `2.0 points`."""
    return f"{plain(value, unit)} {unit.name}".rstrip()


def three_digits(value: float | None) -> str:
    """A size of unknown magnitude, to three significant digits."""
    if value is None:
        return MISSING
    return "0" if value == 0 else f"{value:.3g}".replace("-", MINUS)


def p_value(value: float | None) -> str:
    """A p-value to two significant digits: `0.0012`, `1.2e−7`."""
    if value is None:
        return MISSING
    if value >= 0.995:
        return "1.0"
    if value >= 1e-4:
        return f"{value:.{1 - int(f'{value:.1e}'.split('e')[1])}f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return "0" if value == 0 else f"{mantissa}e{MINUS}{abs(int(exponent))}"


def learning_rate(value: float | None) -> str:
    """A learning rate as one types it: `5e-4`, `2.5e-3`."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def count(value: int) -> str:
    """A number of things: `6,144`."""
    return f"{value:,}"


def parameters(value: float) -> str:
    """A number of parameters in millions: `0.15 M`; thousands below ten thousand, billions above a thousand million."""
    if value < 10_000:
        return f"{value / 1e3:.1f} k" if value >= 1_000 else f"{value:.0f}"
    if value < 1e9:
        return f"{value / 1e6:.{2 if value < 1e7 else 1}f} M"
    return f"{value / 1e9:.2f} B"


def bytes_size(value: float) -> str:
    """A size on disk or in memory, in decimal units: `9.8 MB`."""
    for name, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:.0f} B"


def seconds(value: float) -> str:
    """A duration as people say it: `2.4 s`, `95 s`, `12 min`, `2.3 h`; nothing where no time was taken."""
    if value <= 0:
        return MISSING
    if value < 120:
        return f"{value:.{1 if value < 10 else 0}f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def listing(names: Sequence[str]) -> str:
    """Names in a row: "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
