"""`retain scale`: the curve of what is learned and lost as an update is scaled, and the adapter at a coefficient."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.help_text import ALL
from retain.recipe import ScaleRecipe, load_recipe
from retain.recipe.from_run import scale_values

HELP = "Scale an update back: its curve, a budget, the adapter."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options; see `retain.cli.flags.recipe_parser`."""
    return recipe_parser(
        ScaleRecipe,
        HELP + " Give a run, or a recipe, or --model and --tuned. With --alpha the adapter at that interpolation "
        "coefficient is written; with --budget the one at the largest that is certified "
        "(exit code 3 where none is); with neither the curve is measured.",
        "retain scale runs/first --budget capitals:5 kl:0.1 --output runs/first-scaled",
        topic=topic,
        given=(
            "RUN|RECIPE.yaml",
            "Folder of a run of `retain tune`, or a YAML file of the fields that are flags here.",
        ),
    )


def run(given: Namespace) -> int:
    """Do it, print the curve and the paths of all files; 3 if a budget could not be kept."""
    recipe = load_recipe(ScaleRecipe, *scale_values(given.get("recipe"), overrides(ScaleRecipe, given)))
    from retain.cli.screen import make_console, show_scaling, showing_progress
    from retain.jobs.scale import scale_recipe

    console = make_console()
    with showing_progress(console) as events:
        outcome, written = scale_recipe(recipe, events)
    show_scaling(console, outcome.budget, outcome.scaling, written)
    return 0 if outcome.kept else 3
