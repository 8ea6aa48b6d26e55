"""One run: measure the base, train, deliver what keeps the budget, measure again, write the record. Stages are kept."""

from __future__ import annotations

from dataclasses import replace

from retain.errors import InputError
from retain.evaluate.pair import Pair
from retain.evaluate.runner import Measured, measure_pair
from retain.events import Events
from retain.hf.models.describe import model_hash
from retain.hf.models.placement import offloaded, placement_note
from retain.hf.models.quantization import quantization_note
from retain.jobs.adapt import train_or_load
from retain.jobs.base_predictions import base_predictions
from retain.jobs.continue_run import ensure_merged, merge_notes, note_recipe
from retain.jobs.deliver import Delivered, deliver
from retain.jobs.inputs.cautions import class_cautions, template_cautions
from retain.jobs.inputs.evidence_told import training_told, unread_told
from retain.jobs.inputs.method_checks import unread_fields
from retain.jobs.inputs.prepare import adapter_fields, prepare
from retain.jobs.inputs.quantised_methods import offload_problem
from retain.jobs.launch.plan import Plan
from retain.jobs.launch.stage import run_stages
from retain.jobs.record import provenance, write_record
from retain.jobs.run import Run
from retain.jobs.run_folder import Trained, file_bytes
from retain.jobs.serving import delivered_told
from retain.jobs.stopwatch import Stopwatch
from retain.jobs.tracking import report_the_end
from retain.recipe import Recipe
from retain.records.lock import output_folder
from retain.records.result import MethodRecord, Parameters, Result
from retain.report.write import RUN_FILES
from retain.train.arguments import unused_devices


def tune(recipe: Recipe, events: Events) -> Result:
    """Fine-tune as the recipe says and measure the result; go on where an interrupted run stopped.

    Args:
        recipe: a recipe for one run.
        events: receives the progress.

    Raises:
        InputError: recipe, data or model cannot be used, with all problems; or the output holds another run.
        TrainingError: the loss stopped being finite.
    """
    recipe = recipe.single()
    ensure_merged(recipe, events)
    prepared = prepare(recipe)
    run = Run.of(recipe, prepared, events)
    return complete(run)


def complete(run: Run) -> Result:
    """Do what is left of a run; of a run that is complete, read the record.

    Raises:
        InputError: its folder holds another run, or something of the user's; or another process is at it.
        TrainingError: the loss stopped being finite.
    """
    if run.folder.is_complete(run.identity) and (finished := run.folder.finished()) is not None:
        return finished  # nothing is written: the storage may be read-only by now
    run.folder.adopt()
    if problem := run.conflict():
        raise InputError(problem)
    with output_folder(run.folder.path, RUN_FILES):
        run.folder.claim(run.identity)
        note_recipe(run.recipe, run.folder.path)
        return run.folder.finished() or _do(run)


def _do(run: Run) -> Result:
    """Measure the base, train or read what was trained, deliver, measure, and write the record."""
    if run.recipe.is_launched and run.folder.training() is None:
        plan = Plan.of(run.recipe)
        run_stages(run.recipe, run.folder.path, run.shared, run.events, plan)  # their files are read below
    base = run.base()
    fields = {} if run.method == "full" else adapter_fields(run.recipe)
    if offloaded(base) and (problem := offload_problem(run.method, fields)):  # only now is it known what auto does
        raise InputError(problem)
    base_hash = model_hash(base)
    measuring = Stopwatch()
    with measuring:
        predictions = base_predictions(run, base, base_hash)
    about_base = [*quantization_note(base), *placement_note(base), *merge_notes(run.recipe)]
    model, trained = train_or_load(run, base, base_hash)
    pair = Pair.around(model, run.base)
    delivered = deliver(run, pair, base_hash)
    with measuring:
        measured = measure_pair(
            delivered.pair, run.preprocessor, run.data.suites, run.settings, run.events, predictions
        )
    measured = replace(measured, notes=(*measured.notes, *about_base))
    result = _result(run, trained, delivered, measured, measuring.seconds)
    written = write_record(run.folder.path, result, measured.items)
    report_the_end(run, written)
    return written


def _result(run: Run, trained: Trained, delivered: Delivered, measured: Measured, seconds: float) -> Result:
    """The record of a run; `seconds` is the time that measuring took."""
    recipe, outcome, weights = run.recipe, delivered.outcome, run.folder.delivered(run.method)
    reads_texts = run.is_calibrated or recipe.needs_keep_text
    hashes = {key: value for key, value in run.data.hashes.items() if reads_texts or not key.startswith("calibrate:")}
    cost = trained.cost.model_copy(update={"scaling_seconds": delivered.seconds, "measure_seconds": seconds})
    few = [*training_told(run.data.train, recipe.batch_size), *unread_told(run.data.suites.of("task"))]
    told = [*unread_fields(recipe), *class_cautions(run.data), *template_cautions(run.data, run.preprocessor), *few]
    notes = [*run.data.near_duplicates, *told, *trained.notes, *delivered.notes, *measured.notes]
    notes += delivered_told(recipe, weights)
    plan = Plan.of(recipe)
    notes += [idle] if (idle := unused_devices(plan.processes_here)) and recipe.device_map is None else []
    return Result(
        model=recipe.model,
        method=MethodRecord(name=run.method, config=trained.config),
        seed=recipe.seed,
        learning_rate=recipe.rate,
        training=recipe.model_dump(mode="json", include=recipe.recorded_fields(reads_text=reads_texts))
        | {"dtype": run.spec.dtype}
        | plan.facts(recipe),
        parameters=Parameters(
            trainable=trained.trainable,
            total=trained.total,
            adapter_bytes=file_bytes(weights) if weights else 0,
        ),
        **measured.fields(),
        budget=() if outcome is None else outcome.budget,
        scaling=None if outcome is None else outcome.scaling,
        cost=cost,
        curve=trained.curve,
        provenance=provenance(hashes, trained.model_hash, notes),
    )
