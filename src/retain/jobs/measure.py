"""`retain measure`, by paths or in Python: any pair of base and tuned model, however it was trained."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from retain.data.images import broken_images
from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.causality import encoder_decoder, looks_ahead, not_causal
from retain.evaluate.encode import class_names
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions
from retain.evaluate.refusal_judges import judge_problems
from retain.evaluate.runner import Measured, measure_pair
from retain.evaluate.suites.suite import Settings, Suites
from retain.events import Events
from retain.hf.models.describe import adapter_config, adapter_kind, changed_size, model_hash, parameter_counts
from retain.hf.models.given import unwrapped
from retain.hf.models.placement import placement_note
from retain.hf.models.quantization import quantization_note
from retain.hf.models.sides import root_of
from retain.jobs.asked import Asked
from retain.jobs.harness.harness_record import with_harness_tasks
from retain.jobs.inputs.data import suite_hashes
from retain.jobs.inputs.evidence_told import unread_told
from retain.jobs.inputs.families import family_of_model, harness_problems, unknown_classes, unmeasurable
from retain.jobs.inputs.given import Given, Several, Texts, given_preprocessor, given_suites
from retain.jobs.inputs.given_settings import given_settings
from retain.jobs.inputs.model_inputs import data_problem
from retain.jobs.inputs.opening import Opening, TunedData, read_tuned_data
from retain.jobs.inputs.read import settings_of
from retain.jobs.inputs.relearn_checks import relearn_problems
from retain.jobs.junit_file import junit_problem, write_junit
from retain.jobs.output_place import output_problem
from retain.jobs.prediction_cache import PredictionCache
from retain.jobs.progress import make_console, showing_progress
from retain.jobs.record import provenance, write_record
from retain.jobs.stopwatch import Stopwatch
from retain.recipe import MeasureRecipe
from retain.records.lock import output_folder
from retain.records.result import Cost, MethodRecord, Parameters, Result
from retain.report.write import RUN_FILES, holding_problem


def measure(
    base: Any,
    tuned: Any = None,
    *,
    tokenizer: Any = None,
    processor: Any = None,
    test: Given | None = None,
    keep: Several = None,
    gone: Several = None,
    held_out_text: Texts = None,
    output: str | Path | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Result:
    """Measure a tuned model against its base; the record is that of `retain tune`.

    Args:
        base: the untouched base model; or a `PeftModel` alone, whose base is the model with its adapter off.
        tuned: the tuned model: a `PeftModel` or a whole model. Not needed when `base` is a `PeftModel`.
        tokenizer: the base's tokenizer, for models that read text.
        processor: the base's image processor, for models that read images.
        test: held-out task data: path, suite, data set id, or rows as `retain tune` takes them.
        keep: retention suites by name or file, data, or `{suite name: data or rows}`.
        gone: suites of what should be gone, likewise: how much of what the base knew is left.
        held_out_text: path (or data set id) of text on which drift is measured; several are domains, `{domain: path}`.
        output: folder for `result.json`, `items.jsonl`, report and plot; None writes nothing.
        show_progress: whether progress is shown.
        settings: fields of `retain measure` by name and in its units, as `margin=5` (points) or `generate=32`; and
            `window`, `task_tokens`, `aa_items`, `seed`.

    Returns:
        The record. The models come back as they were: mode, adapter state, weights.

    Raises:
        InputError: with every problem of the data; or the model given does not carry its base.
        RetainError: the conditions of the two models differ (dtype, attention, device).

    Examples:
        >>> keep = {"capitals": "capitals.jsonl"}
        >>> result = retain.measure(model, tokenizer=tokenizer, keep=keep, show_progress=False)
        >>> result.keep[0].name, result.keep[0].n
        ('capitals', 168)
    """
    base, tuned = unwrapped(base), unwrapped(tuned)
    problems: list[str] = []
    chosen = given_settings(settings)
    preprocessor = given_preprocessor(tokenizer, processor, settings, base, tuned)
    suites = given_suites(test, keep, held_out_text, problems, gone)
    problems += relearn_problems(suites, chosen, preprocessor)
    problems += measuring_problems(base, preprocessor, suites, chosen)
    if output is not None:
        problems += output_problem(output) or holding_problem(output, ["run.json", "summary.json", "scaling.json"])
    if problems:
        raise InputError(problems)
    if not (suites.all or suites.held_out_text):
        raise InputError("nothing to measure: give at least one of test, keep, gone and held_out_text.")
    pair = Pair.of(base, tuned)
    with nullcontext() if output is None else output_folder(Path(output), RUN_FILES):
        with Stopwatch() as measuring, showing_progress(make_console(quiet=not show_progress)) as events:
            measured = measure_pair(pair, preprocessor, suites, chosen, events)
        measured = replace(measured, notes=(*measured.notes, *notes_on(pair)))
        result = result_of(name_of(base), pair, suites, measured, model_hash(base), measuring.seconds)
        return result if output is None else write_record(Path(output), result, measured.items)


def measuring_problems(base: Any, preprocessor: Preprocessor, suites: Suites, settings: Settings) -> list[str]:
    """A sentence for each reason why a loaded model cannot be measured on suites and text."""
    config: Any = root_of(base).config
    family = family_of_model(base, preprocessor)
    told = (config, family, "model", name_of(base))
    if problem := encoder_decoder(*told) or data_problem(*told):
        return [problem]
    ahead = family == "causal-lm" and looks_ahead(base)
    unmeasured = unmeasurable("text-features" if ahead else family, suites)
    return [
        *([not_causal("model", name_of(base), config.model_type)] if ahead and unmeasured else unmeasured),
        *(unknown_classes(class_names(root_of(base)), suites) if family.endswith("classifier") else []),
        *broken_images(suites.measured_items),
        *judge_problems(settings.judge),
        *(
            f"{suite.name}: {len(suite.items)} test item(s): an interval needs at least two; give more."
            for suite in suites.of("task")
            if len(suite.items) == 1
        ),
    ]


def name_of(model: Any) -> str:
    """The name of a loaded model in a record: where it came from, or its class."""
    return str(getattr(model.config, "name_or_path", "") or type(model).__name__)


def notes_on(pair: Pair) -> list[str]:
    """Notes on how the models of a pair are quantised and placed."""
    tuned = root_of(pair.tuned_model)
    base = tuned if pair.separate_base is None else root_of(pair.separate_base)
    return [*quantization_note(base, tuned), *placement_note(base)]


def measure_recipe(recipe: MeasureRecipe, events: Events) -> Result:
    """Measure models by paths or hub ids, as `retain measure` does; see `measure`.

    Raises:
        InputError: with every problem of data and models.
    """
    if recipe.is_served:
        from retain.jobs.served.measure import measure_served  # noqa: PLC0415 -- the client is loaded where it is used

        return measure_served(recipe, events)
    if recipe.converted is not None:
        from retain.jobs.served.three import measure_three  # noqa: PLC0415 -- likewise

        return measure_three(recipe, events)
    problems: list[str] = []
    data = read_tuned_data(recipe, problems)
    problems += harness_problems(recipe.lm_eval, data.family, data.suites)
    if not problems:  # a run there is one of the recipe's problems
        problems += holding_problem(recipe.output, ["summary.json", "scaling.json"])
    problems += junit_problem(recipe.junit)
    if problems:
        raise InputError(problems)
    with output_folder(Path(recipe.output), RUN_FILES):
        return _measure_recipe(recipe, data, events)


def _measure_recipe(recipe: MeasureRecipe, data: TunedData, events: Events) -> Result:
    """Load both models, measure them, and write the record."""
    opened, suites, settings = Opening(recipe, data, events), data.suites, settings_of(recipe)
    pair, preprocessor = opened.pair(), opened.preprocessor  # all that can be wrong with the models is told here
    with Stopwatch() as measuring:
        base = partial(_base_predictions, recipe, opened, pair, suites, events)
        measured = measure_pair(pair, preprocessor, suites, settings, events, base)
        measured = with_harness_tasks(measured, pair, preprocessor, recipe, events)
    measured = replace(measured, notes=(*measured.notes, *opened.notes))
    result = result_of(recipe.model, pair, suites, measured, opened.base_hash, measuring.seconds)
    written = write_record(Path(recipe.output), result, measured.items)
    write_junit(recipe.junit, {written.method.name: written})
    return written


def _base_predictions(
    recipe: MeasureRecipe, opened: Opening, pair: Pair, suites: Suites, events: Events
) -> Predictions:
    """The base's predictions, from the cache of earlier runs where they are there."""
    with pair.base() as base:
        asked = Asked(base, opened.base_hash, opened.preprocessor, tuple(suites.all), settings_of(recipe))
        return PredictionCache.chosen(recipe.cache).of_base(asked, events, "the base answers")


def result_of(name: str, pair: Pair, suites: Suites, measured: Measured, base_hash: str, seconds: float) -> Result:
    """The record of a measurement that was not preceded by a training of retain's own."""
    changed, changed_bytes = changed_size(pair.tuned_model)
    _, total = parameter_counts(pair.tuned_model)
    return Result(
        model=name,
        method=MethodRecord(name=adapter_kind(pair.tuned_model) or "full", config=adapter_config(pair.tuned_model)),
        seed=None,
        parameters=Parameters(trainable=changed, total=total, adapter_bytes=changed_bytes),
        **measured.fields(),
        cost=Cost(measure_seconds=seconds),
        provenance=provenance(suite_hashes(suites), base_hash, [*measured.notes, *unread_told(suites.of("task"))]),
    )
