"""The recipe: everything a run is told, as one validated value. Read from YAML, changed by flags; no torch here."""

from retain.recipe.advise_recipe import AdviseRecipe
from retain.recipe.calibrate_recipe import CalibrateRecipe, Calibrating
from retain.recipe.control_recipe import KL, Budget, Controlling, Regularisation, ScaleRecipe
from retain.recipe.load import load_recipe
from retain.recipe.measure_recipe import MeasureRecipe, Measuring, MeasuringTuned
from retain.recipe.redact import redacted
from retain.recipe.tune_recipe import RESERVED, Recipe

__all__ = ["KL", "RESERVED", "Budget", "CalibrateRecipe", "Calibrating"]
__all__ += [
    "AdviseRecipe",
    "Controlling",
    "MeasureRecipe",
    "Measuring",
    "MeasuringTuned",
    "Recipe",
    "Regularisation",
    "ScaleRecipe",
]
__all__ += ["load_recipe", "redacted"]
