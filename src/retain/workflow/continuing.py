"""Going on from an earlier run: the model that it delivered as a whole model, and the answers of its first base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from retain.data.readers import TextReader
from retain.errors import InputError
from retain.evaluation.answers import Answers
from retain.evaluation.suites import Suite, Suites
from retain.hf.load import load_adapter
from retain.recipe import Recipe
from retain.recipe.continuing import MERGED, RECIPE
from retain.results import write_text
from retain.workflow.folder import RunFolder
from retain.workflow.models import load_reader
from retain.workflow.prepare import Data, read_data, suite_hash

ORIGIN = "control-base.json"
"""In a run's folder: what the base of its budget answered on control data. Later runs are compared with it."""


def note_recipe(recipe: Recipe) -> None:
    """Write a run's recipe into its folder, without the judge's command, which may hold a key."""
    write_text(Path(recipe.output) / RECIPE, recipe.model_dump_json(indent=2, exclude={"judge"}) + "\n")


def ensure_merged(recipe: Recipe, load_base: Callable[[Recipe, Data], Any]) -> None:
    """Make the whole model of the run that a recipe goes on from, if it is not there yet.

    Args:
        recipe: with `from_run`; others are left alone.
        load_base: loads the base of a run, with its head.

    Raises:
        InputError: that run delivered nothing, or its data are no longer there.
    """
    if recipe.from_run is None or Path(recipe.model).name != MERGED or (Path(recipe.model) / "config.json").exists():
        return
    folder = RunFolder(Path(recipe.from_run).expanduser())
    earlier = Recipe.model_validate_json((folder.path / RECIPE).read_text(encoding="utf-8"))
    delivered = folder.delivered(earlier.method_name)
    if delivered is None:
        raise InputError(
            f"from: {folder.path} delivered no adapter (its budget could not be kept); choose another run."
        )
    target = Path(recipe.model)
    temporary = target.with_name(f".{target.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    if delivered.name == "model":
        shutil.copytree(delivered, temporary)
    else:
        problems: list[str] = []
        data = read_data(earlier, problems)
        if problems:
            raise InputError(problems)
        model = load_adapter(load_base(earlier, data), delivered)
        model.merge_and_unload().save_pretrained(temporary)
        reader = load_reader(
            earlier.model, data.family, earlier.max_length, trust_remote_code=earlier.trust_remote_code
        )
        (reader.tokenizer if isinstance(reader, TextReader) else reader.processor).save_pretrained(temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def note_origin(folder: Path, control: Suites, answers: Answers) -> None:
    """Keep what the base answered on control data, with the hash of each suite that it was asked."""
    hashes = {suite.name: suite_hash(suite) for suite in control.all}
    write_text(folder / ORIGIN, json.dumps({"suites": hashes, "answers": json.loads(answers.model_dump_json())}))


def origin_answers(recipe: Recipe, control: Suites) -> Mapping[str, Any]:
    """Of each control suite that an earlier run asked too: the first base's responses. Empty without such a run."""
    path = Path(recipe.from_run).expanduser() / ORIGIN if recipe.from_run else None
    if path is None or not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        answers = Answers.model_validate(told["answers"])
    except (ValueError, KeyError, ValidationError) as error:
        raise InputError(f"from: {path} is damaged ({error}); run the earlier task again.") from error
    return {suite.name: answers.responses[suite.name] for suite in control.all if _same(suite, told["suites"])}


def _same(suite: Suite, hashes: Mapping[str, str]) -> bool:
    return hashes.get(suite.name) == suite_hash(suite)
