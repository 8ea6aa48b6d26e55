"""`retain compare`: several methods, learning rates and seeds beside each other."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.recipe import Recipe, load_recipe

HELP = "Do the same work with several methods; one table, one plot of task gain against retention."


def make_parser() -> ArgumentParser:
    """The verb's options."""
    return recipe_parser(
        Recipe,
        HELP + " Runs that are complete are not done again; an interrupted one goes on where it stopped.",
        "retain compare recipes/headlines.yaml --methods lora,vefa --seeds 3 --learning-rates 5e-4,2e-3",
        leave_out=frozenset({"method", "learning_rate"}),
    )


def run(given: Namespace) -> int:
    """Do it, print the table and where everything lies; 3 if no run could keep its budget."""
    recipe = load_recipe(Recipe, given.get("recipe"), overrides(given))
    from retain.cli.screen import make_console, quiet_libraries, show_comparison
    from retain.jobs.compare import compare

    quiet_libraries()
    console = make_console()
    results, paths = compare(recipe, console)
    show_comparison(console, results, paths)
    return 0 if any(all(one.kept for one in result.budget) for result in results) else 3
