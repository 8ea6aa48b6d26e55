"""`retain measure`: the same record for a model that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.gate import exit_code
from retain.cli.help_text import ALL
from retain.recipe import MeasureRecipe, load_recipe

HELP = "Measure what any tuned model learned and lost against its base."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options; see `retain.cli.flags.recipe_parser`."""
    return recipe_parser(
        MeasureRecipe,
        HELP + " Trains nothing.",
        "retain measure --model Qwen/Qwen3-0.6B --tuned ./my-adapter --test test.jsonl "
        "--keep capitals.jsonl --held-out-text text.txt --output runs/measured",
        topic=topic,
    )


def run(given: Namespace) -> int:
    """Do it, print the table and the paths of all files; with --gate the exit code is the gate's."""
    recipe = load_recipe(MeasureRecipe, given.get("recipe"), overrides(MeasureRecipe, given))
    from retain.cli.screen import make_console, show_run, showing_progress
    from retain.jobs.measure import measure_recipe

    console = make_console()
    if recipe.only_check:
        return _only_check(recipe)
    with showing_progress(console) as events:
        result = measure_recipe(recipe, events)
    show_run(console, result, Path(recipe.output), None)
    return exit_code(result.judgement) if recipe.gate and result.judgement is not None else 0


def _only_check(recipe: MeasureRecipe) -> int:
    """Tell whether the adapter acts where it is served."""
    from retain.cli.screen import make_console, showing_progress
    from retain.jobs.served.acting import exit_code
    from retain.jobs.served.measure import check_served

    with showing_progress(make_console()) as events:
        found = check_served(recipe, events)
    print(f"{found.acting.verdict}: {found.acting.sentence}")
    for sentence in (*found.cautions, *found.told):
        print(f"  {sentence}")
    return exit_code(found.acting, found.cautions)
