"""Delivery: all that was trained, or the part of it that keeps the budget, written and read back."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from retain.evaluate.pair import Pair
from retain.hf.scaling import keeps_its_form
from retain.jobs.budget_search import BudgetSearch, Outcome, search
from retain.jobs.continue_run import note_origin, origin_predictions
from retain.jobs.run import Run
from retain.jobs.scale import write_setting
from retain.jobs.state_files import read_or_none, rewrite
from retain.jobs.stopwatch import Stopwatch


class Delivered(NamedTuple):
    """The pair that is to be measured, and how it came about.

    Attributes:
        pair: the base, and what is delivered as it was read back from its folder.
        outcome: of the budget; None where a run has none.
        seconds: that the search took.
        notes: for the record.
    """

    pair: Pair
    outcome: Outcome | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


def deliver(run: Run, pair: Pair, base_hash: str) -> Delivered:
    """Scale the update back until the budget is kept, write it, and read it back.

    Args:
        run: the run; without a budget it delivers all.
        pair: the base, and all that was trained.
        base_hash: of the base's weights.

    Raises:
        InputError: the update cannot be scaled or written.
    """
    if not run.recipe.budget:
        return Delivered(pair)
    with Stopwatch() as searching:
        outcome = _outcome(run, pair, base_hash)
    seconds, alpha = searching.seconds, outcome.scaling.alpha
    if alpha == 1:
        return Delivered(pair, outcome, seconds)
    if alpha == 0:
        run.folder.deliver(run.method, None)
        note = (
            "No interpolation coefficient could be certified, so no adapter was delivered; all that was trained lies "
            f"in {run.folder.unscaled.name}, and the figures are its own."
        )
        return Delivered(pair, outcome, seconds, (note,))
    written = _written(run, pair, alpha)
    reason = keeps_its_form(pair.tuned_model) if written.name == "model" and run.method != "full" else None
    notes = (f"{reason} So the whole model was written, to {written.name}.",) if reason else ()
    base = run.base()
    tuned = run.trained(base, written)
    return Delivered(Pair(tuned, base) if written.name == "model" else Pair(tuned), outcome, seconds, notes)


def _outcome(run: Run, pair: Pair, base_hash: str) -> Outcome:
    """The largest coefficient that keeps the budget, read from the folder where it was found already."""
    file = run.folder.scaling_file
    if (known := read_or_none(file, Outcome)) is not None:
        return known
    job = BudgetSearch.of(run.recipe, run.preprocessor, run.data.control, run.data.suites.of("task"), run.settings)
    origin, notes = origin_predictions(run.recipe.from_run, job)
    outcome, predictions = search(pair, job, run.events, origin, run.cache, base_hash)
    outcome = outcome.noted(notes)
    note_origin(run.folder.path, job, predictions)
    rewrite(file, outcome.model_dump_json(indent=2) + "\n")
    return outcome


def _written(run: Run, pair: Pair, alpha: float) -> Path:
    """The folder of the update at a coefficient, written in place of all that was trained, which is set aside."""
    folder, written = run.folder, []
    folder.deliver(
        run.method,
        lambda: written.append(write_setting(pair, alpha, run.preprocessor, folder.path, folder.unscaled)),
    )
    return written[0]
