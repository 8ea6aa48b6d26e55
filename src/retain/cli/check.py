"""`retain check`: all problems of a recipe, its data and its model, in seconds; trains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.help_text import ALL
from retain.recipe import Recipe, load_recipe

if TYPE_CHECKING:  # torch is imported only when a verb runs
    from retain.jobs.inputs.prepare import Prepared

HELP = "List every problem of a recipe, its data and its model."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options, those of tune and compare; see `retain.cli.flags.recipe_parser`."""
    return recipe_parser(Recipe, HELP + " Trains nothing.", "retain check recipes/headlines.yaml", topic=topic)


def run(given: Namespace) -> None:
    """Check, and print what a run would do."""
    values = overrides(Recipe, given)
    recipe = load_recipe(Recipe, given.get("recipe"), values)
    from retain.cli.screen import make_console, quiet_libraries, showing_progress
    from retain.jobs.continue_run import ensure_merged
    from retain.jobs.inputs.prepare import prepare

    quiet_libraries()
    if recipe.from_run is not None:
        with showing_progress(make_console()) as events:
            ensure_merged(recipe, events)
    if "method" in values and recipe.single() != recipe:
        prepare(recipe.single())
    prepared = prepare(recipe)
    print(f"no problems: {len(recipe.runs())} run(s) on {len(prepared.data.train)} training examples")
    for sentence in _about(recipe, prepared):
        print(f"  {sentence}")


def _about(recipe: Recipe, prepared: Prepared) -> Iterator[str]:
    """What a run would do with its model and data, and what is remarkable in them."""
    from retain.budget.split import limit_words
    from retain.data.family import in_words
    from retain.hf.versions import version_note
    from retain.jobs.inputs.cautions import cautions
    from retain.jobs.inputs.evidence_told import evidence_told
    from retain.jobs.inputs.prepare import fields_told, truncations
    from retain.jobs.launch.plan import launch_told

    data, suites = prepared.data, prepared.data.suites
    yield f"the model is loaded as {in_words(data.family)}"
    for suite in suites.all:
        yield f"{suite.part} {suite.name}: {len(suite.items)} items of task type {suite.task_type}"
    for domain, text in suites.held_out_text.items():
        yield f"held-out text {domain}: {len(text):,} characters"
    yield from limit_words(data.control, recipe.budget, recipe.confidence)
    yield from launch_told(recipe)
    yield from cautions(data, prepared.preprocessor)
    yield from truncations(recipe, prepared)
    yield from (*prepared.notes, *data.near_duplicates)
    yield from fields_told(recipe, prepared)
    yield from evidence_told(data.train, suites, recipe.batch_size)
    if told := version_note():
        yield told
