"""`retain calibrate`: sum up what a model's layers see, for methods that begin where texts say."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.recipe import CalibrateRecipe, load_recipe

HELP = "Collect statistics of texts to learn and to keep, for sc-lora and its relatives; trains nothing."


MEASURING_ONLY = frozenset(
    {
        "keep_format",
        "keep_score",
        "margin",
        "margin_nats",
        "judge",
        "store_answers",
        "drift",
        "generate",
        "max_new_tokens",
        "held_out_tokens",
        "evaluation_batch_size",
    }
)
"""Fields that decide how something is measured, which is not done here. Which items are measured does matter: none of
them may be calibrated on."""


def make_parser() -> ArgumentParser:
    """The verb's options."""
    return recipe_parser(
        CalibrateRecipe,
        HELP + " Interrupted, it goes on where it stopped. Use them with `retain tune --statistics FOLDER`.",
        "retain calibrate --model Qwen/Qwen3-0.6B --train train.jsonl --calibrate-keep self --test test.jsonl "
        "--keep capitals.jsonl --held-out-text text.txt --output runs/statistics",
        leave_out=MEASURING_ONLY,
    )


def run(given: Namespace) -> None:
    """Do it, print what was summed up and where it lies."""
    recipe = load_recipe(CalibrateRecipe, given.get("recipe"), overrides(given))
    from retain.cli.screen import make_console, quiet_libraries, showing_progress
    from retain.jobs.calibrate import calibrate

    quiet_libraries()
    console = make_console()
    with showing_progress(console) as progress:
        made, found = calibrate(recipe, progress)
    for name, statistics in made.items():
        manifest = statistics.manifest
        print(
            f"{name:<6} {statistics.tokens:,} tokens in {len(manifest.sequences):,} sequences, "
            f"{len(manifest.layers)} layers, {len(manifest.sources)} distinct inputs  {Path(recipe.output) / name}"
        )
    for sentence in found:
        print(f"  note: {sentence}")
    print(f"look at them with: retain inspect {recipe.output}")
