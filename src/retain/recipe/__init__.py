"""The recipe: all that a run is given, as one validated value. Read from YAML, changed by flags; no torch here."""

from retain.recipe.advise_recipe import AdviseRecipe
from retain.recipe.budget_options import ALPHAS, KL, Budget, BudgetOptions
from retain.recipe.calibrate_recipe import CalibrateRecipe
from retain.recipe.calibration_options import CalibrationOptions
from retain.recipe.export_recipe import ExportRecipe
from retain.recipe.judge_recipe import JudgeRecipe
from retain.recipe.measure_recipe import MeasureRecipe
from retain.recipe.measurement_options import MeasurementOptions, TunedModelOptions
from retain.recipe.read_recipe import load_recipe
from retain.recipe.redact import redacted
from retain.recipe.regularisation_options import RegularisationOptions
from retain.recipe.scale_recipe import ScaleRecipe
from retain.recipe.tune_recipe import Recipe

RECIPES = (Recipe, AdviseRecipe, ScaleRecipe, MeasureRecipe, CalibrateRecipe, ExportRecipe, JudgeRecipe)
"""The recipes of all verbs."""

__all__ = [
    "ALPHAS",
    "KL",
    "RECIPES",
    "AdviseRecipe",
    "Budget",
    "BudgetOptions",
    "CalibrateRecipe",
    "CalibrationOptions",
    "ExportRecipe",
    "JudgeRecipe",
    "MeasureRecipe",
    "MeasurementOptions",
    "Recipe",
    "RegularisationOptions",
    "ScaleRecipe",
    "TunedModelOptions",
    "load_recipe",
    "redacted",
]
