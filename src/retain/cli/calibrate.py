"""`retain calibrate`: activation second moments of a model's layers, for data-driven initialisations."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.help_text import ALL
from retain.recipe import CalibrateRecipe, load_recipe
from retain.recipe.marks import fields_where

HELP = "Collect activation second moments for sc-lora and the like."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options; see `retain.cli.flags.recipe_parser`.

    Fields that decide how something is measured are left out, for nothing is measured here. Which items will be
    measured does matter: none of them may be calibrated on.
    """
    return recipe_parser(
        CalibrateRecipe,
        HELP + " Trains nothing. Interrupted, it goes on where it stopped. Use them with `retain tune --statistics`.",
        "retain calibrate --model Qwen/Qwen3-0.6B --train train.jsonl --calibrate-keep self --test test.jsonl "
        "--keep capitals.jsonl --held-out-text text.txt --output runs/statistics",
        topic=topic,
        own=("calibration",),
        leave_out=fields_where(CalibrateRecipe, lambda decides: decides.part == "measuring"),
    )


def run(given: Namespace) -> None:
    """Do it, print what was summed up and its path."""
    recipe = load_recipe(CalibrateRecipe, given.get("recipe"), overrides(CalibrateRecipe, given))
    from retain.cli.screen import make_console, showing_progress
    from retain.jobs.calibrate import calibrate

    console = make_console()
    with showing_progress(console) as events:
        made, findings = calibrate(recipe, events)
    for name, statistics in made.items():
        manifest = statistics.manifest
        print(
            f"{name:<6} {statistics.tokens:,} tokens in {len(manifest.sequences):,} sequences, "
            f"{len(manifest.layers)} layers, {len(manifest.sources)} distinct inputs  {Path(recipe.output) / name}"
        )
    for sentence in findings:
        print(f"  note: {sentence}")
    print(f"look at them with: retain inspect {recipe.output}")
