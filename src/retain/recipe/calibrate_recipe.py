"""The recipe of `retain calibrate`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retain.recipe.calibration_options import CalibrationOptions
from retain.recipe.marks import COMMON, Decides, Flag
from retain.recipe.measurement_options import MeasurementOptions


class CalibrateRecipe(MeasurementOptions, CalibrationOptions):
    """The fields of `retain calibrate`. Data to be measured later are named so that none of them is calibrated on."""

    train: Annotated[str | None, Decides("data"), Flag(COMMON, "DATA", place=3)] = Field(
        None, description="Training data: the text to learn, unless calibrate-learn is given."
    )
    target_modules: Annotated[str, Decides("initialisation"), Flag("calibration", "LAYERS")] = Field(
        "all-linear", description="Layers as PEFT names them: all-linear, a regular expression, or names a,b,c."
    )
    sample_norm: Annotated[Literal["none", "max"], Decides("initialisation"), Flag("calibration")] = Field(
        "none", description="max: divide each sample's outputs by the largest magnitude in them."
    )

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        """Nothing needs to be measured."""
        return self
