"""`retain advise`: a sweep of a few steps for each candidate, bounded in time, and the recipe to start with."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from rich.console import Console

from retain.errors import TrainingError
from retain.jobs.continue_run import ensure_merged
from retain.jobs.inputs.data import Data
from retain.jobs.inputs.prepare import Prepared, prepare
from retain.jobs.inputs.read import regularisation_problems
from retain.jobs.progress import showing_progress
from retain.jobs.sweep.choose import DEFAULT_LIMIT, beside, choose
from retain.jobs.sweep.open_session import open_session
from retain.jobs.sweep.session import Session, Workers
from retain.jobs.sweep.sweep_data import KEEP_TOKENS
from retain.jobs.workers.choose import executor_for, setup_of
from retain.methods import lookup
from retain.recipe import KL, AdviseRecipe, Recipe
from retain.recipe.marks import flags_where
from retain.recipe.problem_words import problems_in_words
from retain.recipe.redact import secret_fields
from retain.records.files import write_text
from retain.records.lock import output_folder
from retain.records.recommended import NAMES, Best, Kind, flags_of, kind_of, sentences, shipped
from retain.records.sweep_record import Recommendation, SweepRecord
from retain.report.tables.advice import ADVICE_FILES, write_advice

ADVICE = "advice.yaml"


def advise(recipe: AdviseRecipe, console: Console) -> tuple[SweepRecord, list[Path]]:
    """Try each candidate for a few steps, choose, and write `advice.yaml`, `advice.md` and `advice.json`.

    Neither test nor control data are used. Candidates that were tried already are not tried again.

    Args:
        recipe: the recipe of a run or a comparison, and the sweep's bounds.
        console: where progress is shown.

    Returns:
        The record of the sweep, and the paths of what was written, the recipe first.

    Raises:
        InputError: with all problems of the recipe, before anything is trained.
        TrainingError: no candidate could be measured.
    """
    until = time.monotonic() + 60 * recipe.sweep_minutes
    with showing_progress(console) as events:
        ensure_merged(recipe, events)
        prepared = prepare(recipe)
    with output_folder(Path(recipe.output), (ADVICE, *ADVICE_FILES)):
        return _advise(recipe, prepared, until, console)


def _advise(recipe: AdviseRecipe, given: Prepared, until: float, console: Console) -> tuple[SweepRecord, list[Path]]:
    """Do it, with data that were read."""
    data = given.data
    with showing_progress(console) as events:
        session = open_session(recipe, given, events, console)
    if recipe.workers is not None or recipe.ray is not None:
        session.workers = _workers(recipe, console)
    kind = kind_of(data.family)
    first, left_out = first_to_try(recipe, kind, data)
    session.go_through(recipe.runs(kind, first), until)
    best = choose(session.candidates, limit_of(recipe))
    if best is None:
        raise TrainingError(
            f"no candidate could be measured: {' '.join(one.failed or '' for one in session.candidates)}"
        )
    again = session.recipes[best.candidate]
    session.go_through([again.model_copy(update={"replay": share}) for share in _shares(recipe, data, again)], until)
    session.close()
    chosen = choose(session.candidates, limit_of(recipe)) or best
    sweep = _sweep(recipe, data, session, chosen, left_out)
    written = Path(recipe.output) / ADVICE
    write_text(written, advice_yaml(recipe, session.recipes[chosen.candidate], chosen, kind))
    return sweep, [written, *write_advice(Path(recipe.output), sweep)]


def _workers(recipe: AdviseRecipe, console: Console) -> Workers:
    """The workers that a recipe asks for."""
    setup = setup_of("candidate", recipe)

    def told(sentence: str) -> None:
        console.print(sentence, markup=False, soft_wrap=True)

    return lambda units, listen, here: executor_for(recipe, setup, units, here, listen, told)


def sweep_fields() -> tuple[str, ...]:
    """The fields of a sweep or a comparison, which the recipe of a single run does without."""
    return flags_where(AdviseRecipe, lambda flag: flag.topic in {"sweep", "comparison"})


def limit_of(recipe: AdviseRecipe) -> float:
    """The nats of KL that a candidate may have: the budget's, or the default."""
    return recipe.budget.get(KL, DEFAULT_LIMIT)


def _shares(recipe: AdviseRecipe, data: Data, best: Recipe) -> Iterator[float]:
    """The shares of replay that are still to be tried with the best candidate."""
    if data.family == "causal-lm":
        yield from (share for share in dict.fromkeys(recipe.replays) if share != (best.replay or 0.0))


def _sweep(
    recipe: AdviseRecipe, data: Data, session: Session, chosen: Recommendation, left_out: str | None
) -> SweepRecord:
    base, sweep_data = session.bench.base_losses, session.bench.data
    text, run = data.family == "causal-lm", session.recipes[chosen.candidate]
    steps = whole_steps(run, len(data.train))
    return SweepRecord(
        model=recipe.model,
        unit="nats per token" if text else "nats per item",
        base_loss=base.mean,
        base_accuracy=base.accuracy,
        held_items=len(sweep_data.held),
        held_weights=tuple(base.weights),
        train_items=len(sweep_data.learn),
        sweep_steps=recipe.sweep_steps,
        seed=session.recipes[0].seed,
        probes=sweep_data.rows,
        probe_tokens=sum(int(batch["attention_mask"].sum()) for batch in sweep_data.probes) if text else None,
        limit=limit_of(recipe),
        limit_stated=KL in recipe.budget,
        candidates=tuple(session.candidates),
        chosen=chosen,
        beside=beside(session.candidates, chosen, limit_of(recipe)),
        fields=added_fields(recipe, run),
        untried=tuple(session.untried),
        notes=tuple(_notes(recipe, data, session, left_out)),
        benchmark=tuple(sentences(shipped().of(kind_of(data.family)))),
        whole_steps=steps,
        whole_seconds=steps * session.candidates[chosen.candidate].step_seconds,
    )


def _notes(recipe: AdviseRecipe, data: Data, session: Session, left_out: str | None) -> Iterator[str]:
    yield from session.bench.data.notes
    if left_out is not None:
        yield left_out
    if session.untried:
        yield (
            f"The time was over ({recipe.sweep_minutes:g} min): the same command goes on with what was not tried, "
            "or say --sweep-minutes."
        )
    if "full" in {str(entry if isinstance(entry, str) else entry.get("name")) for entry in recipe.methods}:
        yield "full was not tried: it changes the base itself, and a sweep keeps one base for all candidates."
    if data.family != "causal-lm" and any(recipe.replays):
        yield "Replay was not tried: only language models can replay."
    if set(recipe.budget) - {KL}:
        yield "The budget's limits of suites were not tested: their items are for the training's own verdict."
    if recipe.calibrate_tokens > KEEP_TOKENS:
        yield f"The sweep calibrates on {KEEP_TOKENS} tokens at most, a training on {recipe.calibrate_tokens}."


def whole_steps(run: Recipe, rows: int) -> int:
    """The optimizer steps of the full training of a run on one device, replayed rows among them."""
    if run.max_steps:
        return run.max_steps
    batches = math.ceil(round(rows / (1 - (run.replay or 0.0))) / run.batch_size)
    return math.ceil(run.epochs * math.ceil(batches / int(run.training.get("gradient_accumulation_steps", 1))))


def first_to_try(recipe: AdviseRecipe, kind: Kind, data: Data) -> tuple[Best | None, str | None]:
    """What the benchmark has first for a kind of model, if the sweep can try it, or a sentence on why it does not.

    What a recipe states is kept: methods that it lists are all that is tried, and a field that it gives another value
    than the combination has leaves that out.
    """
    first = shipped().of(kind).best
    if first is None or (recipe.methods and any(_is(run, first) for run in recipe.runs(kind))):
        return None, None
    if reason := _why_not(recipe, first, data):
        return None, f"{first.title}, which the benchmark has first for {NAMES[kind]}, was not tried: {reason}."
    return first, None


def _why_not(recipe: AdviseRecipe, first: Best, data: Data) -> str | None:
    """The reason why a sweep does not try a combination; None where it does."""
    if recipe.methods:
        return "the recipe lists its methods"
    if first.fields["method"]["name"] == "full":
        return "it changes the base itself"
    if first.steps:
        return "a sweep of a few steps cannot tell what fewer steps do"
    if apart := recipe.decided_otherwise(first):
        return f"the recipe gives {', '.join(apart)} another value"
    try:
        run = recipe.single_of(first.entry)
    except ValidationError as error:
        return "; ".join(one.rstrip(".") for one in problems_in_words(error.errors(), Recipe))
    return "; ".join(one.rstrip(".") for one in regularisation_problems(run, data.family, data.everything)) or None


def _is(run: Recipe, first: Best) -> bool:
    """True for a run with all fields of a combination."""
    usual = {field.name: field.default for field in dataclasses.fields(lookup.config_class(run.method_name))}.get("r")
    values = {**run.model_dump(), "rank": run.rank or usual}
    return _holds(first.fields, values) and run.own_values().keys() <= first.fields.keys()


def _holds(wanted: Any, values: Any) -> bool:
    """True if a value is the wanted one; of a mapping, if it has all of its entries."""
    if isinstance(wanted, dict) and isinstance(values, dict):
        return all(_holds(value, values.get(name)) for name, value in wanted.items())
    return bool(wanted == values)


def added_fields(recipe: AdviseRecipe, run: Recipe) -> dict[str, Any]:
    """What a candidate adds to its recipe, as fields to paste: method, rank, regularisers, replay, learning rate."""
    own: dict[str, Any] = {name: value for name, value in run.own_values().items() if value != getattr(recipe, name)}
    if "training" in own:
        own["training"] = {name: one for name, one in own["training"].items() if recipe.training.get(name) != one}
    method = run.method if run.method_fields else run.method_name
    values = {"method": method, "rank": run.rank, **own, "replay": run.replay or None, "learning_rate": run.rate}
    return {name: value for name, value in values.items() if value is not None}


def advice_yaml(recipe: AdviseRecipe, run: Recipe, chosen: Recommendation, kind: Kind) -> str:
    """The recipe in YAML with method, learning rate and replay filled in, for `retain tune`.

    What the benchmark has first for this kind of model stands above it as a comment. The judge's command is left out,
    which may hold a key.
    """
    stated = recipe.model_dump(
        mode="json", exclude_unset=True, exclude={*secret_fields(AdviseRecipe), *sweep_fields(), "replay"}
    )
    values = {**stated, "method": run.method, "rank": run.rank, **run.own_values()}
    values |= {"replay": run.replay or None, "learning_rate": run.rate, "seed": run.seed}
    values["output"] = str(Path(recipe.output) / "run")
    head = "# Advised by retain advise from a short sweep: a start, not evidence. The numbers are in advice.md.\n"
    if chosen.alpha < 1:
        head += (
            f"# Chosen at alpha {chosen.alpha:g}, which is no field of a recipe: state a budget, or use retain scale.\n"
        )
    known = shipped().of(kind)
    if known.best is not None:
        sure = "shown" if known.best.shown else "not shown"
        head += (
            f"# First for {NAMES[kind]} in the benchmark (that it beats tuned LoRA is {sure}; advice.md says more):\n"
        )
        head += f"# {flags_of(known.best)}\n"
    if recipe.judge is not None:
        head += "# The recipe's judge is left out, because its command may hold a key: say --judge.\n"
    stated = {key: value for key, value in values.items() if value is not None}
    return head + yaml.safe_dump(stated, sort_keys=False, allow_unicode=True)
