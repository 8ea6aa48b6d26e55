"""A metric: its name, the unit, range and direction of its figures, and what they are of. Carried by every score."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer, model_validator

from retain.records.base import Record
from retain.records.numbers import HUNDREDTHS, NATS, NATS_PER_TOKEN, OTHER, POINTS, Unit

UNITS: dict[str, Unit] = {
    "share": POINTS,
    "points": HUNDREDTHS,
    "nats": NATS,
    "nats per token": NATS_PER_TOKEN,
    "": OTHER,
}
"""Units as records name them: shares of one are shown as points, figures out of 100 as they are; "" for none."""

Role = Literal["knowledge", "format"]
Level = Literal["item", "set"]


def _unit(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in UNITS:
        raise ValueError(f"unknown unit {value!r}; known are {', '.join(map(repr, UNITS))}.")
    return UNITS[value]


def _unit_name(unit: Unit) -> str:
    return next(name for name, known in UNITS.items() if known is unit)


class Metric(Record):
    """A figure that an item, or a set of items, gets.

    Attributes:
        name: by which records, items and data name it.
        title: as a reader sees it, without its unit; the name with spaces where none is given.
        unit: of its values, a name in `UNITS`.
        low: the smallest value it can have; None where there is none, or it is not known.
        high: the largest, likewise.
        higher_is_better: the good direction.
        level: "item" where each item has a value, of which the (weighted) mean is taken; "set" where only a set
            of items has one, as macro-F1.
        right_or_wrong: each item is right (1) or wrong (0), so that exact tests of counts apply.
        role: "format" for a metric of how an answer is written, which tells a lost format from lost knowledge where
            another metric decides; "knowledge" for all others.
        weight: the value of an item, beside its scores, by which the item counts in the mean; "" where all count alike.

    Raises:
        ValueError: the unit is unknown, the range is empty, or a right-or-wrong metric is none.
    """

    name: str
    title: str = ""
    unit: Annotated[Unit, BeforeValidator(_unit), PlainSerializer(_unit_name)] = OTHER
    low: float | None = None
    high: float | None = None
    higher_is_better: bool = True
    level: Level = "item"
    right_or_wrong: bool = False
    role: Role = "knowledge"
    weight: str = ""

    @model_validator(mode="before")
    @classmethod
    def _titled(cls, values: object) -> object:
        if isinstance(values, dict) and not values.get("title"):
            return {**values, "title": str(values.get("name", "")).replace("_", " ")}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Metric:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"{self.name}: the range from {self.low:g} to {self.high:g} is empty.")
        right_or_wrong = (self.low, self.high, self.higher_is_better, self.level) == (0.0, 1.0, True, "item")
        if self.right_or_wrong and not right_or_wrong:
            raise ValueError(f"{self.name}: a right-or-wrong metric has items from 0 to 1, of which 1 is good.")
        return self

    @property
    def span(self) -> float | None:
        """The largest change of one item; None where the range is not known on both sides."""
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def worst(self) -> float | None:
        """The value of a model that knows nothing; None where there is no such bound."""
        return self.low if self.higher_is_better else self.high

    @property
    def best(self) -> float | None:
        """The value of a model that answers everything rightly; None where there is no such bound."""
        return self.high if self.higher_is_better else self.low

    @property
    def drifts(self) -> bool:
        """True for metrics in nats per token: any training moves them a little, so a small change is no loss yet."""
        return self.unit is NATS_PER_TOKEN


def right_or_wrong(name: str, title: str = "", role: Role = "knowledge") -> Metric:
    """A metric by which each item is right or wrong: a share from 0 to 1, shown in points."""
    return Metric(name=name, title=title, unit="share", low=0.0, high=1.0, right_or_wrong=True, role=role)
