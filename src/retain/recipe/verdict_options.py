"""Fields of the verdict: what a loss is, what a gain is, and the file in which a CI system finds it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from retain.recipe.marks import COMMON, Decides, Flag


class PlainOptions(BaseModel):
    """Fields that hold plain values: no unknown ones, no true where a number is meant, no text that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is meant, and text that no file name and no tokenizer can hold."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if _holds_truth(value) and _takes_numbers(annotation):
            raise ValueError("expected a number")
        if any("\0" in text for text in _texts(value)):
            raise ValueError("expected text without the character NUL")
        return value


class VerdictOptions(PlainOptions):
    """The margins of a verdict."""

    margin: Annotated[float, Decides("measuring"), Flag("measurement", "POINTS")] = Field(
        5.0,
        gt=0,
        le=100,
        description="Non-inferiority margin: points (of 100) that a retention suite may lose and still be kept.",
    )
    margin_nats: Annotated[float, Decides("measuring"), Flag("measurement", "NATS")] = Field(
        0.05, gt=0, description="The same for cross-entropy, in nats per token."
    )
    smallest_gain: Annotated[float, Decides("measuring"), Flag("measurement", "POINTS")] = Field(
        1.0,
        ge=0,
        le=100,
        description="Smallest effect of interest: a change of the task by fewer points (of 100) is called no "
        "noticeable change, however surely it is there.",
    )
    smallest_gain_nats: Annotated[float, Decides("measuring"), Flag("measurement", "NATS")] = Field(
        0.01, ge=0, description="The same for cross-entropy, in nats per token: .01 is one percent of perplexity."
    )


class JUnitOption(PlainOptions):
    """The verdict as a file that CI systems read."""

    junit: Annotated[str | None, Decides("nothing"), Flag(COMMON, "FILE")] = Field(
        None, description="Write the verdict as JUnit XML, which CI systems show: a test for each retention suite."
    )


def _holds_truth(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_holds_truth, value)))


def _takes_numbers(annotation: Any) -> bool:
    return annotation in (int, float) or any(map(_takes_numbers, get_args(annotation)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
