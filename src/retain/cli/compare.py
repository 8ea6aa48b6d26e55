"""`retain compare`: several methods, learning rates and seeds side by side."""

from __future__ import annotations

import sys

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
        "retain compare recipes/tickets.yaml --methods lora,vefa --seeds 3 --learning-rates 5e-4,2e-3",
        topic=topic,
        own=("comparison",),
        leave_out=flags_where(Recipe, lambda flag: bool(flag.in_comparison)),
    )


def run(given: Namespace) -> int:
    """Do it, print the table and the paths of all files; 1 if a run failed, 3 if none could keep its budget."""
    recipe = load_recipe(Recipe, given.get("recipe"), overrides(Recipe, given))
    from retain.cli.screen import make_console, show_comparison
    from retain.jobs.compare import compare

    console = make_console()
    found = compare(recipe, console)
    if found.results:
        show_comparison(console, found.results, found.paths)
    for name, why in found.failed.items():
        print(f"retain compare: {name} failed: {why}", file=sys.stderr)
    if found.share:
        complete, all_here = len(found.results), len(found.results) + len(found.failed) + len(found.elsewhere)
        print(f"{found.share}: {complete} of {all_here} complete; the same command without --run gathers all.")
    if found.failed:
        print("The same command does only what is missing.", file=sys.stderr)
        return 1
    return 0 if found.share or any(all(one.kept for one in result.budget) for result in found.results) else 3
