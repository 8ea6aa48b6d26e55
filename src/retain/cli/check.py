"""`retain check`: all problems of a recipe, its data and its model, in seconds; trains nothing.

Given an adapter or a model instead, it tells what servers refuse, ignore or change of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace
from pydantic import ValidationError

from retain.cli.flags import overrides, recipe_parser
from retain.cli.help_text import ALL
from retain.errors import InputError
from retain.recipe import Recipe
from retain.recipe.marks import flag_name
from retain.recipe.problem_words import problems_in_words
from retain.recipe.read_recipe import load_what_can_be
from retain.recipe.serving_options import ServingOptions
from retain.records.paths import expanded

if TYPE_CHECKING:  # torch is imported only when a verb runs
    from retain.jobs.inputs.prepare import Prepared

HELP = "List every problem of a recipe, its data and its model."


RECIPE_FILES = (".yaml", ".yml", ".json")
_SERVED_FILES = (".gguf", ".safetensors", ".bin", ".pt", ".json")

MOST_ROWS = 100_000
"""Training rows that are read; of more, these stand for all, and what is trained reads all of them first."""

NOT_AS_TRAINED = 2
"""The exit code where a server refuses, ignores or changes something."""


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options, those of tune and compare; see `retain.cli.flags.recipe_parser`."""
    told = "A recipe: a YAML file of the fields that are flags here. Or an adapter, a model, a run or a GGUF file."
    example = "retain check recipes/tickets.yaml"
    return recipe_parser(Recipe, HELP + " Trains nothing.", example, topic=topic, given=("RECIPE.yaml|ADAPTER", told))


def run(given: Namespace) -> int:
    """Check, and print what a run would do, or what servers do with what is there."""
    values = overrides(Recipe, given)
    if (source := given.get("recipe")) and _is_served(source, asked="serve" in values):
        return _check_served(source, values)
    recipe, problems = load_what_can_be(Recipe, given.get("recipe"), values)
    if recipe is None:
        raise InputError(problems)
    from retain.cli.screen import make_console, showing_progress
    from retain.data.row_limit import RowLimit
    from retain.jobs.comparison_runs import planned_conflicts
    from retain.jobs.continue_run import ensure_merged
    from retain.jobs.inputs.prepare import prepare

    limit = RowLimit(MOST_ROWS)
    try:
        if recipe.from_run is not None and not problems:
            with showing_progress(make_console()) as events:
                ensure_merged(recipe, events)
        if "method" in values and recipe.single() != recipe:
            prepare(recipe.single(), limit=limit)
        prepared = prepare(recipe, limit=limit)
        problems += planned_conflicts(recipe, prepared)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    print(f"no problems: {len(recipe.runs())} run(s) on {prepared.data.rows} training examples")
    for sentence in _about(recipe, prepared):
        print(f"  {sentence}")
    return _about_serving(recipe, prepared)


def _about_serving(recipe: Recipe, prepared: Prepared) -> int:
    """Print what the servers of a recipe would do with what its runs deliver, and return the exit code."""
    if not recipe.serve or prepared.structure is None:
        return 0
    from retain.exporting.servers.words import lines
    from retain.jobs.serving import planned_judgements

    found = planned_judgements(recipe, prepared.structure)
    for method, judgements in found:
        for judgement in judgements:
            server, *findings = lines(judgement)
            print("", f"{method} on {server}", *findings, sep="\n")
    truly = all(judgement.is_served_truly for _, judgements in found for judgement in judgements)
    return 0 if truly else NOT_AS_TRAINED


def _about(recipe: Recipe, prepared: Prepared) -> Iterator[str]:
    """What a run would do with its model and data, and what is remarkable in them."""
    from retain.budget.split import limit_words
    from retain.data.family import in_words
    from retain.hf.versions import version_note
    from retain.jobs.inputs.cautions import cautions
    from retain.jobs.inputs.evidence_told import evidence_told
    from retain.jobs.inputs.gone_checks import gone_told
    from retain.jobs.inputs.prepare import fields_told, truncations
    from retain.jobs.launch.plan import launch_told

    data, suites = prepared.data, prepared.data.suites
    if data.sample is not None:
        yield data.sample.sentence("train")
    yield f"the model is loaded as {in_words(data.family)}"
    for suite in suites.all:
        yield f"{suite.part} {suite.name}: {len(suite.items)} items of task type {suite.task_type}"
    for domain, text in suites.held_out_text.items():
        yield f"held-out text {domain}: {len(text):,} characters"
    yield from gone_told(suites.all, recipe.gone_margin / 100)
    yield from limit_words(data.control, recipe.budget, recipe.confidence)
    yield from launch_told(recipe)
    yield from cautions(data, prepared.preprocessor)
    yield from truncations(recipe, prepared)
    yield from (*prepared.notes, *data.near_duplicates)
    yield from fields_told(recipe, prepared)
    yield from evidence_told(data.train, suites, recipe.batch_size, data.sample)
    if told := version_note():
        yield told


def _is_served(source: str, *, asked: bool) -> bool:
    """Tell whether what is given is something to serve, and no recipe."""
    place = expanded(source)
    if source.lower().endswith(RECIPE_FILES) and place.name != "adapter_config.json":
        return False
    return place.is_dir() or (place.is_file() and place.suffix in _SERVED_FILES) or asked


def _check_served(source: str, values: dict[str, Any]) -> int:
    """Print what servers do with an adapter or a model.

    Raises:
        InputError: it cannot be read, or other flags were given.
    """
    if others := [flag_name(Recipe, name) for name in values if name not in {"serve", "model"}]:
        raise InputError(
            f"{', '.join(others)}: of a recipe, and {source} is none; beside an adapter or a model give --serve, and "
            "--model for its base."
        )
    names = _servers(values)
    from retain.exporting.servers.judge import judge
    from retain.exporting.servers.open_served import open_served
    from retain.exporting.servers.words import heading, lines

    served = open_served(source, values.get("model"))
    judgements = judge(served, names)
    print(heading(served))
    for judgement in judgements:
        print("", *lines(judgement), sep="\n")
    return 0 if all(judgement.is_served_truly for judgement in judgements) else NOT_AS_TRAINED


def _servers(values: dict[str, Any]) -> tuple[str, ...]:
    """The servers that were asked for, all where none was.

    Raises:
        InputError: there is no such server.
    """
    try:
        return ServingOptions(serve=values.get("serve") or ("all",)).serve
    except ValidationError as error:
        raise InputError(problems_in_words(error.errors(), ServingOptions)) from error
