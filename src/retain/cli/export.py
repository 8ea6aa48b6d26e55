"""`retain export`: an adapter in a form that others serve, with what that lost."""

from __future__ import annotations

import sys

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.help_text import ALL
from retain.recipe import ExportRecipe, load_recipe
from retain.recipe.from_run import export_values

HELP = "Export an adapter for servers, and tell what that loses."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options; see `retain.cli.flags.recipe_parser`."""
    return recipe_parser(
        ExportRecipe,
        HELP + " Give a run or an adapter, and a form. lora: for vLLM, TGI and any PEFT; exact for lora, sc-lora and "
        "lorfa, the best of a rank for all others. merged: for everything that loads a plain model. folded and ia3: "
        "a vefa without retain. gguf: for llama.cpp and Ollama. The loss is measured on held-out text, and what was "
        "written is loaded again before it is delivered.",
        "retain export runs/first --to lora --rank 16",
        topic=topic,
        given=(
            "RUN|ADAPTER",
            "Folder of a run of `retain tune`, of an adapter, its hub id, or a YAML file of these fields.",
        ),
    )


def run(given: Namespace) -> int:
    """Do it, print what was lost and the paths of all files; 3 if it loses more than is allowed."""
    recipe = load_recipe(ExportRecipe, *export_values(given.get("recipe"), overrides(ExportRecipe, given)))
    from retain.cli.screen import make_console, showing_progress
    from retain.cli.views.export_view import show_export
    from retain.jobs.export.deliver import ExportLossError
    from retain.jobs.export.export import export_recipe

    console = make_console()
    try:
        with showing_progress(console) as events:
            exported = export_recipe(recipe, events)
    except ExportLossError as error:
        print(f"retain export: {error}", file=sys.stderr)
        return 3
    show_export(console, exported)
    return 0
