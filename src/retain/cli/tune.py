"""`retain tune`: fine-tune once, and see what was learned and what was lost."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.help_text import ALL
from retain.errors import InputError
from retain.recipe import Recipe, load_recipe
from retain.recipe.marks import flags_where

HELP = "Fine-tune, and measure what was learned and what was lost."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options; see `retain.cli.flags.recipe_parser`."""
    return recipe_parser(
        Recipe,
        HELP + " A flag replaces the recipe's value.",
        "retain tune --model Qwen/Qwen3-0.6B --method vefa --train train.jsonl --test test.jsonl "
        "--keep capitals.jsonl --held-out-text text.txt --output runs/first",
        topic=topic,
        leave_out=flags_where(Recipe, lambda flag: flag.topic == "comparison"),
    )


def run(given: Namespace) -> int:
    """Do it, print the table and the paths of all files; 3 if a budget could not be kept."""
    recipe = load_recipe(Recipe, given.get("recipe"), overrides(Recipe, given))
    if recipe.methods and "method" not in recipe.model_fields_set:
        raise InputError(
            "methods: retain tune trains one method, and this recipe lists several; name one with --method, or say "
            "retain compare."
        )
    from retain.cli.screen import make_console, show_run, showing_progress
    from retain.jobs.launch.serve import only_serves, serve
    from retain.jobs.run_folder import RunFolder
    from retain.jobs.tune import tune

    console = make_console()
    if only_serves(recipe):
        with showing_progress(console) as events:
            done = serve(recipe, events)
        console.print(done, markup=False, soft_wrap=True)
        return 0
    with showing_progress(console) as events:
        result = tune(recipe, events)
    folder = RunFolder(Path(recipe.output))
    show_run(console, result, folder.path, folder.delivered(recipe.method_name))
    return 0 if all(one.kept for one in result.budget) else 3
