"""Fields on what should be gone: which suites ask for it, how much may be left, and whether it comes back."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator

from retain.recipe.marks import COMMON, Decides, Flag


class GoneMargin(BaseModel):
    """The margin of the verdict *gone*."""

    gone_margin: Annotated[float, Decides("measuring", later=True), Flag("measurement", "PERCENT")] = Field(
        5.0,
        gt=0,
        lt=100,
        description="Largest share (in percent) of what the base knew that may be left and still count as gone.",
    )


class GoneOptions(GoneMargin):
    """What should be gone."""

    gone: Annotated[tuple[str, ...], Decides("data"), Flag(COMMON, "SUITE", place=5)] = Field(
        (),
        description="What should be gone: suites by name, suite files or data, as for keep; questions, choices or "
        "labelled items, in other wordings than those trained on.",
    )
    relearn: Annotated[int, Decides("measuring", later=True), Flag("measurement", "STEPS")] = Field(
        0,
        ge=0,
        description="Ask again what should be gone after so many steps of training on the held-out text: whether it "
        "comes back. Reported beside the verdict.",
    )

    @field_validator("gone", mode="before")
    @classmethod
    def _one_suite_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value
