"""`retain scale`: how much of an update to take; the curve of what is learned and lost, and the adapter at a setting."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.recipe import ScaleRecipe, load_recipe
from retain.recipe.from_run import scale_values

HELP = "Scale what was trained between the base and all of it: measure the curve, keep a budget, write the adapter."


def make_parser() -> ArgumentParser:
    """The verb's options."""
    return recipe_parser(
        ScaleRecipe,
        HELP + " Give the folder of a run of `retain tune`, or a recipe, or model and tuned. With --alpha the adapter "
        "at that setting is written; with --budget the one at the largest setting that is certified; exit code 3 where "
        "none is. With neither the curve is measured.",
        "retain scale runs/first --budget capitals:5 kl:0.1 --output runs/first-scaled",
        given="RUN or RECIPE.yaml",
    )


def run(given: Namespace) -> int:
    """Do it, print the curve and where everything lies; 3 if a budget could not be kept."""
    path, said = given.get("recipe"), overrides(given)
    recipe = load_recipe(ScaleRecipe, *scale_values(path, said))
    from retain.cli.screen import make_console, quiet_libraries, show_scaling, showing_progress
    from retain.jobs.scale import scale_recipe

    quiet_libraries()
    console = make_console()
    with showing_progress(console) as progress:
        outcome, written = scale_recipe(recipe, progress)
    show_scaling(console, outcome, written)
    return 0 if outcome.kept else 3
