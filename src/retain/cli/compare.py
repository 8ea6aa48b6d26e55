"""`retain compare`: several methods, learning rates and seeds side by side."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.help_text import ALL
from retain.recipe import Recipe, load_recipe
from retain.recipe.marks import flags_where

HELP = "Train with several methods, learning rates and seeds."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options; see `retain.cli.flags.recipe_parser`."""
    return recipe_parser(
        Recipe,
        HELP + " Complete runs are not done again; an interrupted one goes on where it stopped.",
        "retain compare recipes/headlines.yaml --methods lora,vefa --seeds 3 --learning-rates 5e-4,2e-3",
        topic=topic,
        own=("comparison",),
        leave_out=flags_where(Recipe, lambda flag: bool(flag.in_comparison)),
    )


def run(given: Namespace) -> int:
    """Do it, print the table and the paths of all files; 3 if no run could keep its budget."""
    recipe = load_recipe(Recipe, given.get("recipe"), overrides(Recipe, given))
    from retain.cli.screen import make_console, quiet_libraries, show_comparison
    from retain.jobs.compare import compare

    quiet_libraries()
    console = make_console()
    results, paths = compare(recipe, console)
    show_comparison(console, results, paths)
    return 0 if any(all(one.kept for one in result.budget) for result in results) else 3
