"""The recipe: everything a run is told, as one validated value. Read from YAML, changed by flags; no torch here."""

from retain.recipe.advising import AdviseRecipe
from retain.recipe.calibrating import CalibrateRecipe, Calibrating
from retain.recipe.controlling import KL, Budget, Controlling, DialRecipe, Means
from retain.recipe.judge import redacted
from retain.recipe.measuring import MeasureRecipe, Measuring, MeasuringTuned
from retain.recipe.reading import load_recipe
from retain.recipe.tuning import LEARNING_RATES, OTHER_LEARNING_RATE, RESERVED, Recipe

__all__ = ["KL", "LEARNING_RATES", "OTHER_LEARNING_RATE", "RESERVED", "Budget", "CalibrateRecipe", "Calibrating"]
__all__ += [
    "AdviseRecipe",
    "Controlling",
    "DialRecipe",
    "Means",
    "MeasureRecipe",
    "Measuring",
    "MeasuringTuned",
    "Recipe",
]
__all__ += ["load_recipe", "redacted"]
