"""`retain scale`, by path or in Python: measure an update at rising coefficients, keep a budget, write the adapter."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from retain.budget.split import limit_problems, split
from retain.data.contamination import find_overlaps
from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.pair import Pair, carries_base
from retain.evaluate.suites.suite import Suites
from retain.events import Events
from retain.hf.models.given import unwrapped
from retain.hf.models.head import BASE_HEAD
from retain.hf.models.sides import is_adapted
from retain.hf.scaling import adapter_to_write, ensure_scalable, keeps_its_form, merged_at, write_at
from retain.jobs.budget_search import BudgetSearch, Outcome, search
from retain.jobs.continue_run import origin_predictions
from retain.jobs.inputs.given import Given, Several, Texts, given_budget, given_preprocessor, given_suites
from retain.jobs.inputs.given_settings import given_settings
from retain.jobs.inputs.opening import Opening, TunedData, read_tuned_data
from retain.jobs.inputs.read import settings_of
from retain.jobs.measure import notes_on
from retain.jobs.output_place import output_problem
from retain.jobs.prediction_cache import PredictionCache
from retain.jobs.progress import make_console, showing_progress
from retain.recipe import ALPHAS, Budget, ScaleRecipe
from retain.recipe.budget_options import alpha_problems
from retain.records.files import new_folder, write_text
from retain.records.lock import output_folder
from retain.records.manifest import remove
from retain.records.paths import expanded
from retain.report.page.scaling_page import write_scaling

ADAPTER, MODEL = "adapter", "model"
"""The folder of what is written, by its kind."""

WRITTEN = (ADAPTER, MODEL, "scaling.json", "scaling.md", "scaling.png")
"""What is written into the output, or removed there where it is outdated."""

CONFIDENCE = 0.95
"""Confidence of a curve without a budget."""


def scale(
    base: Any,
    tuned: Any = None,
    *,
    tokenizer: Any = None,
    processor: Any = None,
    budget: Budget | Mapping[str, float] | None = None,
    test: Given | None = None,
    keep: Several = None,
    held_out_text: Texts = None,
    output: str | Path | None = None,
    alphas: Sequence[float] = ALPHAS,
    groups: Mapping[str, float] | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Outcome:
    """Measure gain and loss as an update is scaled from the base to all of it; with a budget, keep it.

    All data given are control data: none of it may have been trained or calibrated on, nor be reported later as
    evaluation.

    Args:
        base: as in `retain.measure`.
        tuned: likewise.
        tokenizer: the base's tokenizer, for models that read text.
        processor: the base's image processor, for models that read images.
        budget: limits by the names of retention suites and `kl`; None measures the curve only.
        test: held-out task data, for the curve.
        keep: what must stay.
        held_out_text: text on which KL is measured.
        output: folder for `adapter` at the certified coefficient, `scaling.json` and plot; None writes nothing.
        alphas: interpolation coefficients to try, rising, in (0, 1].
        groups: share of each coefficient for layers whose names match a pattern.
        show_progress: whether bars are shown on a terminal.
        settings: fields of `retain measure` by name and in its units, as `margin=5` (points).

    Returns:
        The certificates and the curve; the models come back as they were.

    Raises:
        InputError: with every problem of the data; or the update cannot be scaled.

    Examples:
        >>> keep, budget = {"control": "control.jsonl"}, retain.Budget(control=5)
        >>> outcome = retain.scale(
        ...     model, tokenizer=tokenizer, keep=keep, budget=budget, alphas=(0.5, 1.0), show_progress=False
        ... )
        >>> outcome.scaling.alpha
        1.0
    """
    base, tuned = unwrapped(base), unwrapped(tuned)
    problems: list[str] = []
    chosen = given_settings(settings)
    preprocessor = given_preprocessor(tokenizer, processor, settings, base, tuned)
    suites = given_suites(test, keep, held_out_text, problems)
    held = None if budget is None else given_budget(budget)
    limits, confidence = ({}, CONFIDENCE) if held is None else (held.limits, held.confidence)
    problems += [
        f"{name}: what should be gone is not asked along the way; measure what is written with retain.measure."
        for name in ("relearn", "gone_margin")
        if name in settings
    ]
    problems += alpha_problems(alphas)
    problems += limit_problems(suites, limits, confidence, held_out_tokens=chosen.held_out_tokens)
    problems += [] if output is None else output_problem(output)
    if problems:
        raise InputError(problems)
    pair = Pair(tuned) if tuned is not None and carries_base(tuned) else Pair.of(base, tuned)
    ensure_scalable(pair.tuned_model, pair.separate_base)
    if output is not None and limits:
        adapter_to_write(pair.tuned_model)
    job = BudgetSearch.among(
        preprocessor,
        Suites(suites.of("keep"), suites.held_out_text),
        suites.of("task"),
        chosen,
        limits=limits,
        confidence=confidence,
        alphas=alphas,
        groups=groups or {},
    )
    with nullcontext() if output is None else output_folder(Path(output), WRITTEN):
        with showing_progress(make_console(quiet=not show_progress)) as events:
            outcome = search(pair, job, events)[0].noted(notes_on(pair))
        if output is not None:
            _write(outcome, pair, job, outcome.scaling.alpha if limits else None, Path(output))
    return outcome


def scale_recipe(recipe: ScaleRecipe, events: Events) -> tuple[Outcome, list[Path]]:
    """Scale a tuned model as `retain scale` does.

    Returns:
        The outcome, and the paths of what was written.

    Raises:
        InputError: with every problem of data and models.
    """
    problems: list[str] = []
    data = read_tuned_data(recipe, problems)
    limits = {} if recipe.alpha is not None else recipe.budget
    suites = data.suites
    problems += limit_problems(suites, limits, recipe.confidence, recipe.control_share, recipe.held_out_tokens)
    problems += find_overlaps(data.train, suites.task_items, suites.keep_items, suites.held_out_text_joined)
    problems += input_in_the_way(recipe)
    if problems:
        raise InputError(problems)
    with output_folder(Path(recipe.output), WRITTEN):
        return _scale_recipe(recipe, data, limits, events)


def _scale_recipe(
    recipe: ScaleRecipe, data: TunedData, limits: Mapping[str, float], events: Events
) -> tuple[Outcome, list[Path]]:
    """Load both models, measure the curve or take the coefficient that is given, and write."""
    suites = data.suites
    opened = Opening(recipe, data, events)
    pair = opened.pair()
    ensure_scalable(pair.tuned_model, pair.separate_base)
    job = _search_of(recipe, limits, suites, opened.preprocessor)
    origin, notes = origin_predictions(recipe.origin, job) if limits else ({}, [])
    cache = PredictionCache.chosen(recipe.cache)
    searched = search(pair, job, events, origin, cache, opened.base_hash) if job.alphas else None
    outcome = Outcome.of_base(job) if searched is None else searched[0]
    chosen = recipe.alpha if recipe.alpha is not None else (outcome.scaling.alpha if limits else None)
    if recipe.alpha is not None:
        note = f"The coefficient α = {recipe.alpha:g} was given; nothing is certified of it."
        outcome = Outcome(scaling=outcome.scaling.model_copy(update={"alpha": recipe.alpha})).noted([note])
    outcome = outcome.noted([*notes, *opened.notes])
    return outcome, _write(outcome, pair, job, chosen, Path(recipe.output), expanded(recipe.tuned))


def _search_of(
    recipe: ScaleRecipe, limits: Mapping[str, float], suites: Suites, preprocessor: Preprocessor
) -> BudgetSearch:
    """The search of a recipe: on control data where there are limits, else on all data; at α alone where it has one."""
    control = split(suites, limits, recipe.control_share).control if limits else suites
    job = BudgetSearch.of(
        recipe.model_copy(update={"budget": limits}),
        preprocessor,
        Suites(control.of("keep"), control.held_out_text),
        suites.of("task"),
        settings_of(recipe),
    )
    return job if recipe.alpha is None else replace(job, alphas=[recipe.alpha] if recipe.alpha else [])


def _write(
    outcome: Outcome, pair: Pair, job: BudgetSearch, alpha: float | None, output: Path, beside: Path | None = None
) -> list[Path]:
    """Write the adapter at a coefficient (None: none was chosen), the outcome and its plot."""
    written = []
    for old in (ADAPTER, MODEL):
        remove(output / old)
    if alpha:
        written.append(write_setting(pair, job.at(alpha), job.preprocessor, output, beside))
    record = output / "scaling.json"
    write_text(record, outcome.model_dump_json(indent=2) + "\n")
    return [*written, record, *write_scaling(output, outcome.scaling, outcome.budget)]


def write_setting(
    pair: Pair, alpha: float | dict[str, float], preprocessor: Preprocessor, output: Path, beside: Path | None = None
) -> Path:
    """Write the update at a coefficient: as `adapter`, or as a whole `model` where no adapter of its form can hold it.

    Args:
        pair: base and all that was trained.
        alpha: the interpolation coefficient, or those of layers by patterns of their names.
        preprocessor: its tokenizer or processor is saved too.
        output: the folder to write into.
        beside: where all that was trained lies; the head that the base was measured with is copied from there.

    Raises:
        InputError: the update cannot be written.
    """
    name = adapter_to_write(pair.tuned_model)
    is_full = not is_adapted(pair.tuned_model) or keeps_its_form(pair.tuned_model, name) is not None
    target = output / (MODEL if is_full else ADAPTER)
    with new_folder(target) as place:
        if is_full and is_adapted(pair.tuned_model):
            merged_at(pair.tuned_model, alpha, place, base=pair.separate_base)
        else:
            write_at(pair.tuned_model, alpha, place, adapter_name=name, base=pair.separate_base)
        preprocessor.save(place)
        if beside is not None and (beside / BASE_HEAD).is_file():
            shutil.copyfile(beside / BASE_HEAD, place / BASE_HEAD)
    return target


def input_in_the_way(recipe: ScaleRecipe) -> list[str]:
    """The reason why a recipe's output cannot be written: its own inputs lie there, and would be replaced."""
    places = {(Path(recipe.output) / name).resolve() for name in (ADAPTER, MODEL)}
    for name in ("model", "tuned"):
        given = expanded(getattr(recipe, name))
        if given.exists() and any(place in {given.resolve(), *given.resolve().parents} for place in places):
            return [f"output: {given}, which is given as {name}, would be replaced; give another --output."]
    return []
