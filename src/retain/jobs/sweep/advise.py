"""`retain advise`: a sweep of a few steps for each candidate, bounded in time, and the recipe to start with."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import yaml
from rich.console import Console

from retain.errors import TrainingError
from retain.jobs.continue_run import ensure_merged
from retain.jobs.inputs.data import Data
from retain.jobs.inputs.prepare import Prepared, prepare
from retain.jobs.progress import showing_progress
from retain.jobs.sweep.choose import DEFAULT_LIMIT, choose
from retain.jobs.sweep.open_session import open_session
from retain.jobs.sweep.session import Session, Workers
from retain.jobs.sweep.sweep_data import KEEP_TOKENS
from retain.jobs.workers.choose import executor_for, setup_of
from retain.methods import table
from retain.recipe import KL, AdviseRecipe, Recipe
from retain.recipe.marks import flags_where
from retain.recipe.redact import secret_fields
from retain.records.files import write_text
from retain.records.lock import output_folder
from retain.records.recommended import NAMES, Kind, kind_of, sentences, settings, shipped
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
    runs = recipe.runs(also=method_to_try(kind_of(data.family)))
    session.go_through(runs, until)
    best = choose(session.candidates, limit_of(recipe))
    if best is None:
        raise TrainingError(
            f"no candidate could be measured: {' '.join(one.failed or '' for one in session.candidates)}"
        )
    again = session.recipes[best.candidate]
    session.go_through([again.model_copy(update={"replay": share}) for share in _shares(recipe, data, again)], until)
    session.close()
    chosen = choose(session.candidates, limit_of(recipe)) or best
    sweep = _sweep(recipe, data, session, chosen)
    written = Path(recipe.output) / ADVICE
    write_text(written, advice_yaml(recipe, session.recipes[chosen.candidate], chosen, kind_of(data.family)))
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


def _sweep(recipe: AdviseRecipe, data: Data, session: Session, chosen: Recommendation) -> SweepRecord:
    base, sweep_data = session.bench.base_losses, session.bench.data
    text = data.family == "causal-lm"
    steps = whole_steps(session.recipes[chosen.candidate], len(data.train))
    return SweepRecord(
        model=recipe.model,
        unit="nats per token" if text else "nats per item",
        base_loss=base.mean,
        base_accuracy=base.accuracy,
        held_items=len(sweep_data.held),
        train_items=len(sweep_data.learn),
        sweep_steps=recipe.sweep_steps,
        seed=session.recipes[0].seed,
        probes=sweep_data.rows,
        probe_tokens=sum(int(batch["attention_mask"].sum()) for batch in sweep_data.probes) if text else None,
        limit=limit_of(recipe),
        limit_stated=KL in recipe.budget,
        candidates=tuple(session.candidates),
        chosen=chosen,
        untried=tuple(session.untried),
        notes=tuple(_notes(recipe, data, session)),
        benchmark=tuple(sentences(shipped().of(kind_of(data.family)))),
        whole_steps=steps,
        whole_seconds=steps * session.candidates[chosen.candidate].step_seconds,
    )


def _notes(recipe: AdviseRecipe, data: Data, session: Session) -> Iterator[str]:
    yield from session.bench.data.notes
    if session.untried:
        yield (
            f"The time of {recipe.sweep_minutes:g} minutes was over; the same command goes on with what was not tried, "
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


def method_to_try(kind: Kind) -> str | None:
    """The method that the benchmark has first for a kind of model, where a sweep can try it: one of retain's own."""
    best = shipped().of(kind).best
    name = None if best is None else str(best.fields.get("method", {}).get("name"))
    return name if name in {row.name for row in table.rows()} - {"full"} else None


def advice_yaml(recipe: AdviseRecipe, run: Recipe, chosen: Recommendation, kind: Kind) -> str:
    """The recipe in YAML with method, learning rate and replay filled in, for `retain tune`.

    What the benchmark has first for this kind of model stands above it as a comment. The judge's command is left out,
    which may hold a key.
    """
    stated = recipe.model_dump(
        mode="json", exclude_unset=True, exclude={*secret_fields(AdviseRecipe), *sweep_fields(), "replay"}
    )
    values = {**stated, "method": run.method, "rank": run.rank, "learning_rate": run.rate, "seed": run.seed}
    values |= {"replay": run.replay} if run.replay else {}
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
        head += f"# {settings(known.best)}\n"
    if recipe.judge is not None:
        head += "# The recipe's judge is left out, because its command may hold a key: say --judge.\n"
    stated = {key: value for key, value in values.items() if value is not None}
    return head + yaml.safe_dump(stated, sort_keys=False, allow_unicode=True)
