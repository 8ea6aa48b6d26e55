"""The forgetting budget: how much may be lost, and how that is certified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from retain.errors import InputError
from retain.recipe.marks import COMMON, Decides, Flag
from retain.recipe.problem_words import problems_in_words

KL = "kl"
"""Name under which a budget limits KL(base ‖ tuned) on the held-out text, in nats per token."""

ALPHAS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Interpolation coefficients that are tried, in the order of the test: the safest first."""


class Budget(BaseModel):
    """A forgetting budget: points (of 100) of a retention suite by its name, nats per token of held-out text by `kl`.

    Suites whose metric is a cross-entropy are limited in nats, too.

    Examples:
        >>> retain.Budget(capitals=2, kl=0.1).limits
        {'capitals': 2.0, 'kl': 0.1}
        >>> retain.Budget(limits={"my suite": 2}, confidence=0.9).confidence
        0.9
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    limits: dict[str, float]
    confidence: float = Field(0.95, ge=0.5, lt=1.0)

    def __init__(self, limits: Mapping[str, float] | None = None, confidence: float = 0.95, **named: float) -> None:
        """Take limits as a mapping, or by name.

        Raises:
            InputError: a limit cannot be one, or the confidence no confidence.
        """
        if limits is not None and not isinstance(limits, Mapping):
            raise InputError(f"budget: {limits!r}; give limits by name, as {{'capitals': 2, 'kl': 0.1}}.")
        try:
            super().__init__(limits={**(limits or {}), **named}, confidence=confidence)
        except ValidationError as error:
            told = problems_in_words(error.errors(include_url=False), Budget)
            raise InputError([text if text.startswith("budget:") else f"budget: {text}" for text in told]) from error

    @model_validator(mode="after")
    def _possible(self) -> Self:
        problems = range_problems(self.limits)
        if not self.limits:
            problems.append("budget: name at least one limit, as capitals:2 or kl:0.1")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class BudgetOptions(BaseModel):
    """The forgetting budget and how it is certified."""

    budget: Annotated[
        dict[str, float],
        Decides("measuring", when="budget", inherited_by=("scale",)),
        Flag(COMMON, "NAME:LIMIT", place=7),
    ] = Field(
        default_factory=dict,
        description="How much may be lost: SUITE:POINTS (of 100) of a retention suite, kl:NATS per token of held-out "
        "text. The update is scaled back until every limit is certified on control data; exit code 3 where none is.",
    )
    confidence: Annotated[
        float, Decides("measuring", when="budget", inherited_by=("from", "scale")), Flag("budget")
    ] = Field(0.95, ge=0.5, lt=1.0, description="Share of runs that keep the budget they promise.")
    alphas: Annotated[
        tuple[float, ...], Decides("measuring", when="budget", inherited_by=("from", "scale")), Flag("budget")
    ] = Field(
        ALPHAS,
        description="Interpolation coefficients that are tried, rising: 0 is the base, 1 all that was trained.",
    )
    control_share: Annotated[
        float, Decides("measuring", when="budget", inherited_by=("from", "scale")), Flag("budget", "SHARE")
    ] = Field(
        0.5, gt=0, lt=1, description="Share of each suite with a limit that is control data; the rest is reported."
    )

    @field_validator("budget", mode="before")
    @classmethod
    def _by_colons(cls, value: Any) -> Any:
        return parsed_limits(value)

    @field_validator("alphas", mode="before")
    @classmethod
    def _one_alpha(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _possible_limits(self) -> Self:
        problems = [*range_problems(self.budget), *alpha_problems(self.alphas)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def parsed_limits(value: Any) -> Any:
    """`["capitals:2", "kl:0.1"]` as `{"capitals": 2.0, "kl": 0.1}`; a mapping stays as it is.

    Raises:
        ValueError: an entry has no number after its last colon, or a name is there twice.
    """
    given = value.split() if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        return value
    limits: dict[str, float] = {}
    for entry in given:
        name, colon, number = str(entry).rpartition(":")
        try:
            limit = float(number)
        except ValueError:
            colon = ""
        if not colon or not name:
            raise ValueError(f"{entry!r} is no NAME:NUMBER, as capitals:2 or kl:0.1")
        if name in limits:
            raise ValueError(f"{name} is there twice")
        limits[name] = limit
    return limits


def range_problems(limits: Mapping[str, float]) -> list[str]:
    """Reasons why numbers cannot be limits, one sentence each."""
    return [
        f"budget: {name}:{limit:g}: "
        + ("give a number of nats, 0 or more" if name == KL else "give a number of points from 0 to 100")
        for name, limit in limits.items()
        if not 0 <= limit <= (float("inf") if name == KL else 100)
    ]


def alpha_problems(alphas: Sequence[float]) -> list[str]:
    """Reasons why interpolation coefficients cannot be tried in this order."""
    numbers = list(alphas) if isinstance(alphas, Sequence) else []
    if all(isinstance(one, int | float) for one in numbers):
        rising = numbers == sorted(set(numbers))
        if numbers and rising and 0 < numbers[0] <= numbers[-1] <= 1:
            return []
    return ["alphas: give numbers above 0 and up to 1 in rising order"]
