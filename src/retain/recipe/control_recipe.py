"""How much may be lost, and by what means less is lost: the forgetting budget of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from retain.recipe.measure_recipe import MeasuringTuned

KL = "kl"
"""The name under which a budget limits KL(base ‖ tuned) on the held-out text, in nats per token."""

ALPHAS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Interpolation coefficients that are tried, in the order of the test: the safest first."""


class Budget(BaseModel):
    """How much may be lost: points (of 100) of a retention suite by its name, nats per token of held-out text by `kl`.

    `Budget(capitals=2, kl=0.1)`; names that are no Python words as `Budget(limits={"my suite": 2})`. Retention suites whose
    metric is a cross-entropy are limited in nats, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    limits: dict[str, float]
    confidence: float = Field(0.95, ge=0.5, lt=1.0)

    def __init__(self, limits: Mapping[str, float] | None = None, confidence: float = 0.95, **named: float) -> None:
        """Take limits as a mapping, or by name."""
        super().__init__(limits={**(limits or {}), **named}, confidence=confidence)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        problems = limit_problems(self.limits)
        if not self.limits:
            problems.append("budget: name at least one limit, as capitals:2 or kl:0.1")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Controlling(BaseModel):
    """The forgetting budget and the means to keep it; what all verbs that keep one share."""

    budget: dict[str, float] = Field(
        default_factory=dict,
        description="How much may be lost: SUITE:POINTS (of 100) of a retention suite, or kl:NATS per token of reference "
        "text; several after one flag. What is delivered is scaled back until every limit is certified on control "
        "data, a part of each suite that nothing else sees; exit code 3 where that cannot be done.",
    )
    confidence: float = Field(
        0.95, ge=0.5, lt=1.0, description="How sure the budget's promise is to be: the share of runs that keep it."
    )
    alphas: tuple[float, ...] = Field(
        ALPHAS,
        description="Interpolation coefficients that are tried, rising: 0 is the base, 1 all that was trained; on the "
        "command line a,b,c.",
    )
    control_share: float = Field(
        0.5, gt=0, lt=1, description="Share of each suite with a limit that is control data; the rest is evaluated."
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
        problems = [*limit_problems(self.budget), *alpha_problems(self.alphas)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Regularisation(BaseModel):
    """Means to lose less while training. The text to keep is that of calibrate-keep."""

    kl_weight: float | Literal["budget"] | None = Field(
        None,
        description="Weight of a KL penalty in the loss: KL(base, tuned) on the text to keep (calibrate-keep); budget: "
        "the weight follows the budget's kl, so that it holds while training.",
    )
    replay: float | None = Field(
        None, ge=0, lt=1, description="Share of the training rows that are text to keep (calibrate-keep). [none]"
    )
    update_limit: float | None = Field(
        None, gt=0, description="Largest size of the update; after each step it is scaled back to it. [no limit]"
    )
    update_unit: Literal["relative", "f_delta"] = Field(
        "relative",
        description="Unit of update-limit: relative, the update's norm by that of the weights; f_delta, the change of "
        "the layers' outputs by their inputs, on the text to keep.",
    )
    kl_monitor: bool = Field(
        default=False,
        description="Measure KL(base, tuned) on a few texts to keep while training, for a few percent of its cost, and "
        "go back to the best state within the budget's kl.",
    )

    @field_validator("kl_weight", mode="before")
    @classmethod
    def _number_or_budget(cls, value: Any) -> Any:
        try:
            return value if value is None else float(value)
        except (TypeError, ValueError):
            return value

    @property
    def needs_keep_text(self) -> bool:
        """Whether a mean reads the text to keep."""
        return bool(
            self.kl_weight or self.replay or self.kl_monitor or (self.update_limit and self.update_unit == "f_delta")
        )


class ScaleRecipe(MeasuringTuned, Controlling):
    """What `retain scale` is told."""

    alpha: float | None = Field(
        None, ge=0, le=1, description="Write the adapter at this interpolation coefficient, whatever the budget says."
    )
    origin: str | None = Field(
        None,
        description="Run whose base the limits of retention suites count from, where it asked the same control data.",
    )
    groups: dict[str, float] = Field(
        default_factory=dict,
        description="Layers apart: PATTERN:SHARE; a layer whose name matches takes this share of the update scaling.",
    )

    @field_validator("groups", mode="before")
    @classmethod
    def _groups_by_colons(cls, value: Any) -> Any:
        return parsed_limits(value)


def parsed_limits(value: Any) -> Any:
    """`["capitals:2", "kl:0.1"]` as `{"capitals": "2", "kl": "0.1"}`; a mapping stays as it is.

    Raises:
        ValueError: an entry has no number after its last colon, or a name is there twice.
    """
    given = value.split() if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        return value
    found: dict[str, float] = {}
    for entry in given:
        name, colon, number = str(entry).rpartition(":")
        try:
            limit = float(number)
        except ValueError:
            colon = ""
        if not colon or not name:
            raise ValueError(f"{entry!r} is no NAME:NUMBER, as capitals:2 or kl:0.1")
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = limit
    return found


def limit_problems(limits: Mapping[str, float]) -> list[str]:
    """Why limits cannot be meant, one sentence each."""
    return [
        f"budget: {name}:{limit:g}: "
        + ("give a number of nats, 0 or more" if name == KL else "give a number of points from 0 to 100")
        for name, limit in limits.items()
        if not 0 <= limit <= (float("inf") if name == KL else 100)
    ]


def alpha_problems(alphas: Sequence[float]) -> list[str]:
    """Why interpolation coefficients cannot be tried in this order."""
    rising = list(alphas) == sorted(set(alphas))
    if alphas and rising and 0 < alphas[0] <= alphas[-1] <= 1:
        return []
    return ["alphas: give numbers above 0 and up to 1 in rising order"]
