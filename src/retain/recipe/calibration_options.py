"""Fields that name the texts to learn and to keep, for regularisers and data-driven initialisations."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator

from retain.recipe.marks import Decides, Flag


class CalibrationOptions(BaseModel):
    """Texts of the new data and of what must stay, and how they are read."""

    calibrate_keep: Annotated[str, Decides("data", recorded=True), Flag("calibration", "DATA")] = Field(
        "self",
        description="Text to keep: JSONL of {text}, {prompt, completion}, {messages} or {question, choices, answer}, "
        "a text file, or a data set id; self: the base generates it. None of it may be measured.",
    )
    calibrate_learn: Annotated[str | None, Decides("data", recorded=True), Flag("calibration", "DATA")] = Field(
        None, description="Text to learn, in the same forms. [the training data]"
    )
    calibrate_tokens: Annotated[int, Decides("text", recorded=True), Flag("calibration")] = Field(
        16384, gt=0, description="Tokens of each of the two that are read, or generated, at most."
    )
    calibrate_seed: Annotated[int, Decides("text", recorded=True), Flag("calibration")] = Field(
        0, ge=0, description="Seed of what the base generates."
    )
    calibrate_batch_size: Annotated[int, Decides("nothing"), Flag("calibration")] = Field(
        16, gt=0, description="Sequences read or generated at once."
    )
    calibrate_precision: Annotated[Literal["float32", "float64"], Decides("initialisation"), Flag("calibration")] = (
        Field("float32", description="Type in which activation second moments are summed.")
    )
    memory_limit: Annotated[str | None, Decides("nothing"), Flag("calibration", "BYTES")] = Field(
        None,
        description="Memory for the second moments, as 2GB or 500MB; the texts are then read several times. [no limit]",
    )

    @field_validator("memory_limit")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None and parsed_bytes(value) is None:
            raise ValueError("give a number of bytes, or a number with KB, MB, GB or TB")
        return value

    @property
    def generates_keep_text(self) -> bool:
        """True if the base generates the text to keep."""
        return self.calibrate_keep == "self"

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit in bytes."""
        return None if self.memory_limit is None else parsed_bytes(self.memory_limit)


def parsed_bytes(text: str) -> int | None:
    """`2GB` as 2,000,000,000; None where it is no size."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    return None if match is None else int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))
