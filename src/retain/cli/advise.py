"""`retain advise`: a short sweep that says which method, learning rate and replay to start with."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.recipe import AdviseRecipe, load_recipe

HELP = "Try methods and learning rates for a few steps each and write the recipe to start with."


def make_parser() -> ArgumentParser:
    """The verb's options."""
    return recipe_parser(
        AdviseRecipe,
        HELP + " Measured on training rows held out and on text to keep; test and control data are not looked at. "
        "The same command goes on where it stopped. A start, not evidence.",
        "retain advise recipes/headlines.yaml --budget kl:0.1 --output runs/advice",
    )


def run(given: Namespace) -> int:
    """Do it, print the table, the advice and where everything lies."""
    recipe = load_recipe(AdviseRecipe, given.get("recipe"), overrides(given))
    from retain.cli.screen import make_console, quiet_libraries
    from retain.cli.views.advice_view import advice_view
    from retain.jobs.sweep.advise import advise

    quiet_libraries()
    console = make_console()
    sweep, paths = advise(recipe, console)
    console.print(advice_view(sweep))
    for path in paths:
        console.print(f"{path.name:<12} {path}", markup=False, soft_wrap=True)
    console.print(f"next: retain tune {paths[0]}", markup=False, soft_wrap=True)
    return 0
