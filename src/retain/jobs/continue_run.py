"""Going on from an earlier run: what it delivered as one full model, and the predictions of its first base."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from retain.errors import InputError
from retain.evaluate.conversion_loss import conversion_loss
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.index import index_of_base
from retain.events import Events
from retain.hf.adapters.load import load_adapter
from retain.hf.adapters.save import save_weights
from retain.jobs.budget_search import BudgetSearch
from retain.jobs.inputs.data import suite_hash
from retain.jobs.inputs.lengths import base_positions
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.inputs.read import read_data
from retain.jobs.run import Run
from retain.jobs.run_folder import ORIGIN, RunFolder
from retain.jobs.state_files import rewrite
from retain.recipe import Recipe
from retain.recipe.from_run import MERGED, RECIPE, note_start, read_recipe
from retain.recipe.marks import fields_where
from retain.recipe.redact import secret_fields, without_secrets
from retain.records.files import new_folder, write_text
from retain.records.lock import output_folder
from retain.records.manifest import check_unchanged
from retain.records.paths import expanded
from retain.records.reading import read_json_mapping

MERGE_NOTE = "retain_merge.json"
"""What merging an adapter beside a quantised base lost, in the folder of the merged model."""

NOT_MEASURED = (
    "The earlier adapter was merged beside a quantised base. What that loses of its effect was not measured, for the "
    "earlier run has no held-out text."
)


def note_recipe(recipe: Recipe, folder: Path) -> None:
    """Write a run's recipe into its folder, without values that may hold a key."""
    path = folder / RECIPE
    text = recipe.model_dump_json(indent=2, exclude=set(secret_fields(Recipe))) + "\n"
    rewrite(path, text)
    note_start(path.parent, recipe.output)


def ensure_merged(recipe: Recipe, events: Events) -> None:
    """Make the full model of the run that a recipe goes on from, if it is not there yet.

    Args:
        recipe: with `from_run`; others are left alone.
        events: receives the progress.

    Raises:
        InputError: that run delivered nothing, or its data are no longer there.
    """
    if recipe.from_run is None or Path(recipe.model).name != MERGED or (Path(recipe.model) / "config.json").exists():
        return
    folder = RunFolder(expanded(recipe.from_run))
    earlier = Recipe.model_validate(read_recipe(folder.path))
    delivered = folder.delivered(earlier.method_name)
    if delivered is None:
        raise InputError(
            f"from: {folder.path} delivered no adapter (its budget could not be kept); choose another run."
        )
    check_unchanged(delivered)
    with output_folder(folder.path, [MERGED]), new_folder(Path(recipe.model)) as place:
        if delivered.name == "model":
            shutil.copytree(delivered, place, dirs_exist_ok=True)
        else:
            _merge(earlier, folder, delivered, place, events)


def _merge(earlier: Recipe, folder: RunFolder, adapter: Path, place: Path, events: Events) -> None:
    """Write an earlier run's base with its adapter merged, and what reads for it."""
    problems: list[str] = []
    data = read_data(earlier, problems)
    if problems:
        raise InputError(problems)
    spec = ModelSpec.of(earlier, data.family, data.labels)
    preprocessor = spec.preprocessor(base_positions(spec))
    run = Run(earlier, data, preprocessor, folder, folder.path, events)
    plain = replace(run, recipe=earlier.model_copy(update={"quantization": None}))
    merged = load_adapter(plain.base(), adapter).merge_and_unload()
    save_weights(merged, place)
    preprocessor.save(place)
    if spec.quantization_in_use() is not None:
        del merged
        _write_loss(run, adapter, place)


def _write_loss(run: Run, adapter: Path, place: Path) -> None:
    """Measure what merging lost beside a quantised base, and write it into the folder of the merged model."""
    pair = Pair.around(run.trained(run.base(), adapter), run.base)
    merged = run.spec.at(place).load().model
    texts = run.data.everything.held_out_text
    loss = conversion_loss(pair, merged, run.preprocessor, texts, run.settings, run.events)
    anew = "the unquantised base, and the result is quantised anew as it is loaded"
    into = anew if run.spec.own_quantization() is None else "the quantised base"
    note = NOT_MEASURED if loss is None else loss.sentence(into)
    write_text(place / MERGE_NOTE, json.dumps({"note": note} | ({} if loss is None else asdict(loss))) + "\n")


def merge_notes(recipe: Recipe) -> list[str]:
    """What merging the earlier run's adapter lost, for the record of a run that goes on from it."""
    path = Path(recipe.model) / MERGE_NOTE
    return [str(read_json_mapping(path)["note"])] if recipe.from_run is not None and path.is_file() else []


def note_origin(folder: Path, job: BudgetSearch, answers: Predictions) -> None:
    """Write what the base answered on control data, with the hash of each suite and the settings it depends on."""
    hashes = {suite.name: suite_hash(suite) for suite in job.control.all}
    origin = {"suites": hashes, "put": _deciding(job.settings), "answers": answers.model_dump(mode="json")}
    rewrite(folder / ORIGIN, json.dumps(origin))


def origin_predictions(earlier: str | None, job: BudgetSearch) -> tuple[dict[str, Any], list[str]]:
    """The first base's responses to each control suite that an earlier run had too, and notes on those it had not.

    Args:
        earlier: the earlier run's folder, or None.
        job: the search of this run.

    Raises:
        InputError: its answers are damaged, or were made with other settings.
    """
    path = expanded(earlier) / ORIGIN if earlier else None
    if path is None or not path.is_file():
        return {}, []
    try:
        check_unchanged(path)
        origin = read_json_mapping(path)
        answers = Predictions.model_validate(origin["answers"])
        before, hashes = origin["put"], origin["suites"]
    except (InputError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(f"from: {path} is damaged ({error}); run the earlier task again.") from error
    now = _deciding(job.settings)
    if unlike := [name for name in now if now[name] != before.get(name)]:
        raise InputError(
            f"from: the earlier run measured its control data with another {', '.join(unlike)}, so losses cannot be "
            "added up; use the same here."
        )
    limited = [suite for suite in job.control.all if suite.name in job.limits and suite.name in hashes]
    apart = {suite.name: reason for suite in limited if (reason := _counts_anew(suite, hashes[suite.name]))}
    same = {suite.name: answers.responses[suite.name] for suite in limited if suite.name not in apart}
    notes = [
        f"{name}: {reason}, so its limit counts from that run's model, not from the first base."
        for name, reason in apart.items()
    ]
    return same, notes


def _counts_anew(suite: Suite, before: str) -> str:
    """The reason why a control suite cannot count from the first base, as a clause; empty where it can.

    Args:
        suite: of this run.
        before: the hash of the earlier run's suite of that name.
    """
    if before != suite_hash(suite):
        return "its control data are not those of the earlier run (another --control-share or other items)"
    return "its index is that of the base, which here is the earlier run's model" if index_of_base(suite) else ""


def _deciding(settings: Settings) -> dict[str, Any]:
    """The settings that the answer to an item depends on."""
    names = fields_where(Settings, lambda decides: decides.part == "answers")
    return without_secrets({name: getattr(settings, name) for name in names}, Settings)
