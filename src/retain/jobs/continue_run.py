"""Going on from an earlier run: the model that it delivered as a whole model, and the answers of its first base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from retain.data.preprocess import TextPreprocessor
from retain.errors import InputError
from retain.evaluate.predictions import Predictions
from retain.evaluate.suites.suite import Settings
from retain.hf.adapters.load import load_adapter
from retain.hf.adapters.save import save_weights
from retain.jobs.budget_search import BudgetSearch
from retain.jobs.inputs.models import load_preprocessor
from retain.jobs.inputs.prepare import Data, read_data, suite_hash
from retain.jobs.run_folder import ORIGIN, RunFolder
from retain.recipe import Recipe, redacted
from retain.recipe.from_run import MERGED, RECIPE
from retain.records.files import write_text


def note_recipe(recipe: Recipe) -> None:
    """Write a run's recipe into its folder, without the judge's command, which may hold a key."""
    path, text = Path(recipe.output) / RECIPE, recipe.model_dump_json(indent=2, exclude={"judge"}) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def ensure_merged(recipe: Recipe, load_base: Callable[[Recipe, Data, Path], Any]) -> None:
    """Make the whole model of the run that a recipe goes on from, if it is not there yet.

    Args:
        recipe: with `from_run`; others are left alone.
        load_base: loads the base of a run, with its head, which lies in that folder.

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
        model = load_adapter(load_base(earlier, data, folder.path), delivered)
        save_weights(model.merge_and_unload(), temporary)
        preprocessor = load_preprocessor(
            earlier.model, data.family, earlier.max_length, trust_remote_code=earlier.trust_remote_code
        )
        (
            preprocessor.tokenizer if isinstance(preprocessor, TextPreprocessor) else preprocessor.processor
        ).save_pretrained(temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def note_origin(folder: Path, job: BudgetSearch, answers: Predictions) -> None:
    """Keep what the base answered on control data, with the hash of each suite and how it was put."""
    hashes = {suite.name: suite_hash(suite) for suite in job.control.all}
    told = {"suites": hashes, "put": _put(job.settings), "answers": json.loads(answers.model_dump_json())}
    write_text(folder / ORIGIN, json.dumps(told))


def origin_predictions(earlier: str | None, job: BudgetSearch) -> tuple[dict[str, Any], list[str]]:
    """Of each control suite that an earlier run asked too, the first base's responses; and notes on those it did not.

    Args:
        earlier: the earlier run's folder, or None.
        job: what is asked now.

    Raises:
        InputError: its answers are damaged, or were asked in another way.
    """
    path = Path(earlier).expanduser() / ORIGIN if earlier else None
    if path is None or not path.is_file():
        return {}, []
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        answers = Predictions.model_validate(told["answers"])
        put, hashes = told["put"], told["suites"]
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(f"from: {path} is damaged ({error}); run the earlier task again.") from error
    now = _put(job.settings)
    if unlike := [name for name in now if now[name] != put.get(name)]:
        raise InputError(
            f"from: the earlier run put its control data with another {', '.join(unlike)}, so losses cannot be added "
            "to; use the same here."
        )
    limited = [suite for suite in job.control.all if suite.name in job.limits and suite.name in hashes]
    same = {suite.name: answers.responses[suite.name] for suite in limited if hashes[suite.name] == suite_hash(suite)}
    notes = [
        f"{suite.name}: its control data are not those of the earlier run (another --control-share or other items), so "
        "its limit counts from that run's model, not from the first base."
        for suite in limited
        if suite.name not in same
    ]
    return same, notes


def _put(settings: Settings) -> dict[str, Any]:
    """How items are put, as far as answers depend on it."""
    names = ("keep_format", "keep_score", "max_new_tokens", "max_length", "judge")
    found = {name: getattr(settings, name) for name in names}
    return found | {"judge": None if settings.judge is None else redacted(settings.judge)}
