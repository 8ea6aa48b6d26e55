"""`retain scale`, by path or in Python: measure along the scaling path, keep a budget, write the adapter at a setting."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from retain.budget.split import limit_problems, split
from retain.data.contamination import find_overlaps
from retain.data.preprocess import Preprocessor, TextPreprocessor
from retain.errors import InputError
from retain.evaluate.pair import Pair
from retain.evaluate.suites.suite import Settings, Suites
from retain.hf.models.head import BASE_HEAD
from retain.hf.models.sides import is_adapted, mutates_base
from retain.hf.scaling import ensure_scalable, keeps_its_form, merged_at, write_at
from retain.jobs.budget_search import BudgetSearch, Outcome, turn
from retain.jobs.continue_run import origin_predictions
from retain.jobs.inputs.given import Given, given_preprocessor, given_suites
from retain.jobs.inputs.opening import Opening, read_opened
from retain.jobs.inputs.prepare import settings_of
from retain.jobs.progress import make_console, showing_progress
from retain.recipe import ALPHAS, Budget, ScaleRecipe
from retain.recipe.budget_options import alpha_problems
from retain.records.files import write_text
from retain.report.page.scaling_page import write_scaling

Write = Callable[[Path], Any]


def scale(
    base: Any,
    tuned: Any = None,
    *,
    tokenizer: Any = None,
    processor: Any = None,
    budget: Budget | None = None,
    test: Given | None = None,
    keep: Given | Sequence[str | Path] | Mapping[str, Given] | None = None,
    held_out_text: str | Path | Sequence[str | Path] | None = None,
    output: str | Path | None = None,
    alphas: Sequence[float] = ALPHAS,
    groups: Mapping[str, float] | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Outcome:
    """Measure what is learned and lost as an update is scaled from the base to all of it; with a budget, keep it.

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
        output: folder for `adapter` at the certified setting, `scaling.json` and plot; None writes nothing.
        alphas: settings to try, rising, in (0, 1].
        groups: part of each setting that layers take whose names match a pattern.
        show_progress: whether bars are shown on a terminal.
        settings: fields of `retain.evaluate.suites.suite.Settings`.

    Returns:
        The certificates and the curve; the models come back as they were.

    Raises:
        InputError: with every problem of the data; or the update cannot be scaled.
    """
    problems: list[str] = []
    try:
        chosen = replace(Settings(), **settings)
    except TypeError as error:
        raise InputError(f"settings: {error}; known are {', '.join(Settings.__dataclass_fields__)}.") from error
    preprocessor = given_preprocessor(tokenizer, processor, chosen)
    suites = given_suites(test, keep, held_out_text, problems)
    limits = {} if budget is None else budget.limits
    problems += alpha_problems(alphas)
    problems += limit_problems(suites, limits, 0.95 if budget is None else budget.confidence)
    if problems:
        raise InputError(problems)
    alone = tuned is not None and is_adapted(tuned) and not mutates_base(tuned)
    pair = Pair(tuned) if alone else Pair.of(base, tuned)
    ensure_scalable(pair.tuned_model, pair.separate_base)
    put = replace(chosen, generate=0, drift=False)
    confidence = 0.95 if budget is None else budget.confidence
    job = BudgetSearch.among(
        preprocessor,
        Suites(suites.of("keep"), suites.held_out_text),
        suites.of("task"),
        put,
        limits=limits,
        confidence=confidence,
        alphas=alphas,
        groups=groups or {},
    )
    console = make_console()
    console.quiet = not show_progress
    with showing_progress(console) as progress:
        outcome, _ = turn(pair, job, progress)
    if output is not None:
        _write(outcome, pair, job, outcome.scaling.alpha if limits else None, Path(output))
    return outcome


def scale_recipe(recipe: ScaleRecipe, progress: Progress) -> tuple[Outcome, list[Path]]:
    """Do what `retain scale` is told.

    Returns:
        What became of it, and the paths of what was written.

    Raises:
        InputError: with every problem of data and models.
    """
    problems: list[str] = []
    materials = read_opened(recipe, problems)
    limits = {} if recipe.alpha is not None else recipe.budget
    suites = materials.suites
    problems += limit_problems(suites, limits, recipe.confidence, recipe.control_share)
    problems += find_overlaps(materials.train, suites.task_items, suites.keep_items, suites.held_out_text_joined)
    if problems:
        raise InputError(problems)
    control = split(suites, limits, recipe.control_share).control if limits else suites
    opened = Opening(recipe, materials, progress)
    pair = opened.pair()
    ensure_scalable(pair.tuned_model, pair.separate_base)
    job = BudgetSearch.of(
        recipe.model_copy(update={"budget": limits}),
        opened.preprocessor,
        Suites([suite for suite in control.all if suite.part == "keep"], control.held_out_text),
        suites.of("task"),
        settings_of(recipe),
    )
    if recipe.alpha is not None:
        job = replace(job, alphas=[recipe.alpha] if recipe.alpha else [])
    origin, notes = origin_predictions(recipe.origin, job) if limits else ({}, [])
    outcome = turn(pair, job, progress, origin)[0] if job.alphas else Outcome.of_base(job)
    chosen = recipe.alpha if recipe.alpha is not None else (outcome.scaling.alpha if limits else None)
    if recipe.alpha is not None:
        asked = f"The setting α = {recipe.alpha:g} was asked for; nothing is promised of it."
        outcome = Outcome(scaling=outcome.scaling.model_copy(update={"alpha": recipe.alpha})).noted([asked])
    outcome = outcome.noted(notes)
    return outcome, _write(outcome, pair, job, chosen, Path(recipe.output), Path(recipe.tuned).expanduser())


def _write(
    outcome: Outcome, pair: Pair, job: BudgetSearch, alpha: float | None, output: Path, beside: Path | None = None
) -> list[Path]:
    """The adapter at a setting (None: none was chosen), then what was measured and its plot."""
    written = []
    for old in ("adapter", "model"):
        shutil.rmtree(output / old, ignore_errors=True)
    if alpha:
        written.append(write_setting(pair, job.at(alpha), job.preprocessor, output, beside))
    record = output / "scaling.json"
    write_text(record, outcome.model_dump_json(indent=2) + "\n")
    return [*written, record, *write_scaling(output, outcome.scaling, outcome.budget)]


def write_setting(
    pair: Pair, alpha: float | dict[str, float], preprocessor: Preprocessor, output: Path, beside: Path | None = None
) -> Path:
    """Write what a interpolation coefficient delivers: `adapter`, or the whole `model` where no adapter of its form can.

    Args:
        pair: base and all that was trained.
        alpha: the setting.
        preprocessor: its tokenizer or processor is saved too.
        output: the folder to write into.
        beside: where all that was trained lies; the head that the base was measured with is copied from there.

    Raises:
        InputError: the update cannot be written.
    """
    whole = not is_adapted(pair.tuned_model) or keeps_its_form(pair.tuned_model) is not None
    target = output / ("model" if whole else "adapter")
    put = merged_at if whole and is_adapted(pair.tuned_model) else write_at
    put(pair.tuned_model, alpha, target, base=pair.separate_base)
    (preprocessor.tokenizer if isinstance(preprocessor, TextPreprocessor) else preprocessor.processor).save_pretrained(
        target
    )
    if beside is not None and (beside / BASE_HEAD).is_file():
        (target / BASE_HEAD).write_bytes((beside / BASE_HEAD).read_bytes())
    return target
