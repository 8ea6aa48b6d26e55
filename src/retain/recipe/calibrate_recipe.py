"""Which texts show what to learn and what to keep, and all that `retain calibrate` is told."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from retain.recipe.measure_recipe import Measuring


class Calibrating(BaseModel):
    """Which texts show the directions that matter, for the new data and for what must stay (sc-lora, its relatives)."""

    calibrate_keep: str = Field(
        "self",
        description="Text whose knowledge must stay: JSONL of {text}, {prompt, completion}, {messages} or {question, "
        "choices, answer}, a text file, or a data set id; self: the base writes it itself. None of it may be measured.",
    )
    calibrate_learn: str | None = Field(None, description="Text to learn, likewise. [the training data]")
    calibrate_tokens: int = Field(
        16384, gt=0, description="Tokens of each of the two that are used, or written, at most."
    )
    calibrate_seed: int = Field(0, ge=0, description="Seed of what the base writes itself.")
    calibrate_batch_size: int = Field(16, gt=0, description="Sequences read or written at once in calibration.")
    calibrate_precision: Literal["float32", "float64"] = Field(
        "float32", description="Type in which moments are summed."
    )
    memory_limit: str | None = Field(
        None,
        description="Memory that the sums may take at once, as 2GB or 500MB; the data are then read several times.",
    )

    @field_validator("memory_limit")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None and _bytes(value) is None:
            raise ValueError("give a number of bytes, or a number with KB, MB, GB or TB")
        return value

    @property
    def writes_itself(self) -> bool:
        """Whether the base is to write what is kept."""
        return self.calibrate_keep == "self" and getattr(self, "statistics", None) is None

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit in bytes."""
        return None if self.memory_limit is None else _bytes(self.memory_limit)


class CalibrateRecipe(Measuring, Calibrating):
    """What `retain calibrate` is told. What is to be measured later is named so that none of it is calibrated on."""

    train: str | None = Field(None, description="Data to learn: the text to learn, if no calibrate-learn is given.")
    target_modules: str = Field(
        "all-linear", description="Layers, as PEFT names them: all-linear, a regular expression, or names a,b,c."
    )
    sample_norm: Literal["none", "max"] = Field(
        "none", description="max: divide each sample's outputs by the largest magnitude in them."
    )

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        """Nothing needs to be measured."""
        return self


def _bytes(text: str) -> int | None:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    return None if found is None else int(float(found[1]) * 1000 ** " KMGT".index(found[2].upper() or " "))
