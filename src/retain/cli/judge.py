"""`retain judge`: the verdict from predictions that exist already, as an exit code. No models, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from retain.cli.flags import overrides, recipe_parser
from retain.cli.gate import exit_code
from retain.cli.help_text import ALL
from retain.errors import InputError
from retain.recipe import JudgeRecipe, load_recipe

HELP = "Judge a tuned model by two logs, as an exit code."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options; see `retain.cli.flags.recipe_parser`."""
    return recipe_parser(
        JudgeRecipe,
        HELP + " Loads no model. 0: kept, and gone where it should be; 3: lost, changed format or still there; "
        "4: too few items to say.",
        "retain judge lm-eval/base lm-eval/tuned --task headlines --output runs/judged --junit verdict.xml",
        topic=topic,
        given=("BASE TUNED", "The two logs, or one recipe: a YAML file of the fields that are flags here."),
        several=True,
    )


def run(given: Namespace) -> int:
    """Do it, print the verdict and the paths of all files; the exit code is the gate's."""
    recipe, logs = _given(given.get("recipe") or [])
    read = load_recipe(JudgeRecipe, recipe, {**overrides(JudgeRecipe, given), **logs})
    from retain.cli.screen import make_console, show_run
    from retain.jobs.judge.judge import judge_recipe

    result = judge_recipe(read)
    console = make_console()
    show_run(console, result, None if read.output is None else Path(read.output), None)
    for note in result.provenance.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    return 4 if result.judgement is None else exit_code(result.judgement)


def _given(words: list[str]) -> tuple[str | None, dict[str, Any]]:
    """The recipe, or the two logs.

    Raises:
        InputError: more is given.
    """
    if len(words) == 2:
        return None, {"base": words[0], "tuned": words[1]}
    if len(words) == 1 and words[0].lower().endswith((".yaml", ".yml")):
        return words[0], {}
    if not words:
        return None, {}
    raise InputError(f"two logs are compared, the base's and the tuned model's; found {len(words)}: {' '.join(words)}.")
