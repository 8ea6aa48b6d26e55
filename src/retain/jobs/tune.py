"""One run: measure the base, adapt, train, turn the update scaling, measure again, write record and report. Stages are kept."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import Progress

from retain.data.preprocess import Preprocessor
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions, collect_predictions, engine, preprocessor_hash
from retain.evaluate.runner import measure_pair
from retain.evaluate.suites.suite import Settings, Suites
from retain.hf.adapters.load import load_adapter
from retain.hf.models.describe import model_hash
from retain.hf.models.inference import device_of
from retain.hf.models.sides import mutates_base
from retain.hf.scaling import keeps_its_form
from retain.jobs.adapt import base_of, load_whole, train_or_load
from retain.jobs.budget_search import BudgetSearch, Outcome, turn
from retain.jobs.continue_run import ensure_merged, note_origin, note_recipe, origin_predictions
from retain.jobs.inputs.models import files_fingerprint, load_preprocessor
from retain.jobs.inputs.prepare import Data, is_calibrated, prepare, settings_of, suite_hash, suite_hashes
from retain.jobs.record import provenance, write_record
from retain.jobs.run_folder import RunFolder, file_bytes, identity_of, key_of
from retain.jobs.scale import write_setting
from retain.recipe import Recipe
from retain.recipe.marks import fields_where
from retain.records.files import write_text
from retain.records.result import MethodRecord, Parameters, Result


def tune(recipe: Recipe, progress: Progress, data: Data | None = None, base_folder: Path | None = None) -> Result:
    """Fine-tune as the recipe says and measure what it did; go on where an interrupted run stopped.

    Args:
        recipe: a recipe for one run.
        progress: display for progress bars.
        data: the recipe's data, where a comparison has read and checked them already.
        base_folder: where the base's answers are kept; runs on the same base and items share them.

    Raises:
        InputError: recipe, data or model cannot be used, with all problems; or the output holds another run.
        TrainingError: the loss stopped being finite.
    """
    recipe = recipe.single()
    folder = RunFolder(Path(recipe.output))
    make_ready(recipe, progress)
    if data is None:
        data = prepare(recipe)
    files = files_fingerprint(recipe.model)
    apart = suite_hashes(data.everything)
    folder.claim(identity_of(recipe, data.hashes(), files, calibrated=is_calibrated(recipe), apart=apart))
    note_recipe(recipe)
    finished = folder.finished()
    if finished is not None:
        return finished
    settings = settings_of(recipe)
    preprocessor = load_preprocessor(
        recipe.model, data.family, recipe.max_length, trust_remote_code=recipe.trust_remote_code
    )
    shared = base_folder or folder.path
    base = base_of(recipe, data, preprocessor, shared, progress)
    base_hash = model_hash(base)
    began = time.perf_counter()
    answers = _base_predictions(base, base_hash, preprocessor, data.suites, settings, shared, progress)
    measuring = time.perf_counter() - began
    model, trained = train_or_load(base, base_hash, preprocessor, recipe, data, (folder, shared), progress)
    pair = _paired(model, recipe, data, preprocessor, shared, progress)
    cost, notes = trained.cost, list(trained.notes)
    outcome = None
    if recipe.budget:
        began = time.perf_counter()
        outcome = _turned(pair, recipe, data, preprocessor, settings, folder, progress)
        cost = cost.model_copy(update={"scaling_seconds": time.perf_counter() - began})
        pair, told = _delivered(pair, outcome, recipe, data, preprocessor, (folder, shared), progress)
        notes += told
    began = time.perf_counter()
    measured = measure_pair(pair, preprocessor, data.suites, settings, progress, answers)
    measuring += time.perf_counter() - began
    texts = is_calibrated(recipe) or recipe.needs_keep_text
    hashes = {key: value for key, value in data.hashes().items() if texts or not key.startswith("calibrate:")}
    result = Result(
        model=recipe.model,
        method=MethodRecord(name=recipe.method_name, config=trained.config),
        seed=recipe.seed,
        learning_rate=recipe.rate,
        training=recipe.model_dump(mode="json", include=recipe.recorded_fields(reads_text=texts)),
        parameters=Parameters(
            trainable=trained.trainable,
            total=trained.total,
            adapter_bytes=file_bytes(delivered) if (delivered := folder.delivered(recipe.method_name)) else 0,
        ),
        **measured.fields(),
        budget=() if outcome is None else outcome.budget,
        scaling=None if outcome is None else outcome.scaling,
        cost=cost.model_copy(update={"measure_seconds": measuring}),
        curve=trained.curve,
        provenance=provenance(hashes, base_hash, [*notes, *measured.notes]),
    )
    return write_record(folder.path, result, measured.items)


def make_ready(recipe: Recipe, progress: Progress) -> None:
    """Make the model of the run that a recipe goes on from, if it does and it is not there yet; see `ensure_merged`."""

    def load_base(earlier: Recipe, data: Data, folder: Path) -> Any:
        trusting = earlier.trust_remote_code
        preprocessor = load_preprocessor(earlier.model, data.family, earlier.max_length, trust_remote_code=trusting)
        return base_of(earlier, data, preprocessor, folder, progress)

    ensure_merged(recipe, load_base)


def _turned(
    pair: Pair,
    recipe: Recipe,
    data: Data,
    preprocessor: Preprocessor,
    settings: Settings,
    folder: RunFolder,
    progress: Progress,
) -> Outcome:
    """How far the update scaling may be turned; from the folder, where that was found out already."""
    if folder.scaling_file.exists():
        with contextlib.suppress(ValueError):  # a damaged file is made anew
            return Outcome.model_validate_json(folder.scaling_file.read_text(encoding="utf-8"))
    job = BudgetSearch.of(recipe, preprocessor, data.control, data.suites.of("task"), settings)
    origin, notes = origin_predictions(recipe.from_run, job)
    outcome, answers = turn(pair, job, progress, origin)
    outcome = outcome.noted(notes)
    note_origin(folder.path, job, answers)
    write_text(folder.scaling_file, outcome.model_dump_json(indent=2) + "\n")
    return outcome


def _delivered(
    pair: Pair,
    outcome: Outcome,
    recipe: Recipe,
    data: Data,
    preprocessor: Preprocessor,
    folders: tuple[RunFolder, Path],
    progress: Progress,
) -> tuple[Pair, list[str]]:
    """Write what the update scaling delivers, and the pair that is to be measured: that, read back from where it was written."""
    (folder, shared), alpha, method = folders, outcome.scaling.alpha, recipe.method_name
    if alpha == 1:
        return pair, []
    if alpha == 0:
        folder.deliver(method, None)
        told = f"all that was trained lies in {folder.unscaled.name}, and the figures are its own."
        return pair, [f"No interpolation coefficient could be certified, so no adapter was delivered; {told}"]
    written: list[Path] = []
    whole = folder.unscaled
    folder.deliver(method, lambda: written.append(write_setting(pair, alpha, preprocessor, folder.path, whole)))
    base = base_of(recipe, data, preprocessor, shared, progress)
    target = written[0]
    if target.name == "model":
        reason = None if method == "full" else keeps_its_form(pair.tuned_model)
        notes = [f"{reason} So the whole model was written, to {target.name}."] if reason else []
        return Pair(load_whole(target, recipe, data), base), notes
    return Pair(load_adapter(base, target).eval()), []


def _base_predictions(
    base: Any,
    base_hash: str,
    preprocessor: Preprocessor,
    suites: Suites,
    settings: Settings,
    shared: Path,
    progress: Progress,
) -> Predictions:
    """The base's answers, from the file that another run on the same base and items left, or asked for now."""
    key = _predictions_key(base, base_hash, preprocessor, suites, settings)
    file = shared / f"base-{key}.json"
    if file.exists():
        with contextlib.suppress(ValueError):  # a damaged file is made anew
            return Predictions.model_validate_json(file.read_text(encoding="utf-8"))
    answers = collect_predictions(base, preprocessor, suites.all, settings, progress, "the base answers")
    write_text(file, answers.model_dump_json())
    return answers


def _paired(
    model: Any, recipe: Recipe, data: Data, preprocessor: Preprocessor, shared: Path, progress: Progress
) -> Pair:
    """The base inside the adapted model where it is there untouched, else the base loaded anew."""
    if recipe.method_name == "full" or mutates_base(model):
        return Pair(model, base_of(recipe, data, preprocessor, shared, progress))
    return Pair(model)


def _predictions_key(base: Any, base_hash: str, preprocessor: Preprocessor, suites: Suites, settings: Settings) -> str:
    """Names all that the base's answers depend on: weights, configuration, reader, suites in order, settings."""
    asked = [[suite.name, suite_hash(suite)] for suite in suites.all]
    deciding = fields_where(Settings, lambda decides: decides.part in {"answers", "predictions"})
    put = {name: value for name, value in asdict(settings).items() if name in deciding}
    attention = base.config._attn_implementation  # noqa: SLF001 -- transformers has no public name for it
    running = [base.config.to_json_string(), attention, str(base.dtype), engine(), device_of(base).type]
    return key_of(base_hash, running, preprocessor_hash(preprocessor), asked, put)
