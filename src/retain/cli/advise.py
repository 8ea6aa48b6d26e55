"""`retain advise`: a short sweep that recommends a method, a learning rate and replay to start with."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.help_text import ALL
from retain.recipe import AdviseRecipe, load_recipe

HELP = "Sweep methods and learning rates; write a recipe to start with."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options; see `retain.cli.flags.recipe_parser`."""
    return recipe_parser(
        AdviseRecipe,
        HELP + " Candidates are measured on training rows held out and on text to keep; test and control data are not "
        "used. The same command goes on where it stopped. The advice is a start, not evidence.",
        "retain advise recipes/tickets.yaml --budget kl:0.1 --output runs/advice",
        topic=topic,
        own=("sweep",),
        leave_out=("run",),
    )


def run(given: Namespace) -> int:
    """Do it, print the table, the advice and the paths of all files."""
    recipe = load_recipe(AdviseRecipe, given.get("recipe"), overrides(AdviseRecipe, given))
    from retain.cli.screen import make_console
    from retain.cli.views.advice_view import advice_view
    from retain.jobs.sweep.advise import advise

    console = make_console()
    sweep, paths = advise(recipe, console)
    console.print(advice_view(sweep))
    for path in paths:
        console.print(f"{path.name:<12} {path}", markup=False, soft_wrap=True)
    console.print(f"next: retain tune {paths[0]}", markup=False, soft_wrap=True)
    return 0
