"""The recipe of `retain scale`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, field_validator

from retain.recipe.budget_options import BudgetOptions, parsed_limits
from retain.recipe.marks import COMMON, Decides, Flag
from retain.recipe.measurement_options import TunedModelOptions


class ScaleRecipe(TunedModelOptions, BudgetOptions):
    """The fields of `retain scale`."""

    alpha: Annotated[float | None, Decides("measuring"), Flag(COMMON, "α")] = Field(
        None, ge=0, le=1, description="Write the adapter at this interpolation coefficient, whatever the budget says."
    )
    origin: Annotated[str | None, Decides("data"), Flag("scaling", "RUN")] = Field(
        None, description="Run whose base the limits of suites count from, where its control data are the same."
    )
    groups: Annotated[dict[str, float], Decides("measuring"), Flag("scaling", "PATTERN:SHARE")] = Field(
        default_factory=dict,
        description="Layers whose names match a pattern take this share of the interpolation coefficient.",
    )

    @field_validator("groups", mode="before")
    @classmethod
    def _groups_by_colons(cls, value: Any) -> Any:
        return parsed_limits(value)

    @field_validator("groups", mode="after")
    @classmethod
    def _patterns_and_shares(cls, value: dict[str, float]) -> dict[str, float]:
        for pattern, share in value.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
            if not 0 <= share <= 1:
                raise ValueError(f"{pattern}:{share:g}: a share lies between 0 and 1")
        return value
