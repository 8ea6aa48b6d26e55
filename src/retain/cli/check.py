"""`retain check`: all problems of a recipe, its data and its model, in seconds; trains nothing."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.help_text import ALL
from retain.recipe import Recipe, load_recipe

HELP = "List every problem of a recipe, its data and its model."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options, those of tune and compare; see `retain.cli.flags.recipe_parser`."""
    return recipe_parser(Recipe, HELP + " Trains nothing.", "retain check recipes/headlines.yaml", topic=topic)


def run(given: Namespace) -> None:
    """Check, and print what a run would do."""
    values = overrides(Recipe, given)
    recipe = load_recipe(Recipe, given.get("recipe"), values)
    from retain.budget.split import limit_words
    from retain.cli.screen import make_console, quiet_libraries, showing_progress
    from retain.jobs.continue_run import ensure_merged
    from retain.jobs.inputs.evidence_told import evidence_told
    from retain.jobs.inputs.prepare import prepare, truncations

    quiet_libraries()
    if recipe.from_run is not None:
        with showing_progress(make_console()) as events:
            ensure_merged(recipe, events)
    if "method" in values and recipe.single() != recipe:
        prepare(recipe.single())
    prepared = prepare(recipe)
    data, suites = prepared.data, prepared.data.suites
    print(f"no problems: {len(recipe.runs())} run(s) on {len(data.train)} training examples")
    print(f"  the model is loaded as a {data.family.replace('-', ' ')}")
    for suite in suites.all:
        print(f"  {suite.part} {suite.name}: {len(suite.items)} items of task type {suite.task_type}")
    for domain, text in suites.held_out_text.items():
        print(f"  held-out text {domain}: {len(text):,} characters")
    for sentence in limit_words(data.control, recipe.budget, recipe.confidence):
        print(f"  {sentence}")
    for sentence in truncations(recipe, prepared):
        print(f"  {sentence}")
    for sentence in (*prepared.notes, *data.near_duplicates):
        print(f"  {sentence}")
    for sentence in evidence_told(data.train, suites, recipe.batch_size):
        print(f"  {sentence}")
