"""`retain measure` of a served model: look, check the adapter, then the same record as of any other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retain.errors import RetainError
from retain.evaluate.runner import measure_sides
from retain.events import Events
from retain.jobs.inputs.data import suite_hashes
from retain.jobs.inputs.evidence_told import unread_told
from retain.jobs.junit_file import write_junit
from retain.jobs.record import provenance, write_record
from retain.jobs.served.acting import acting
from retain.jobs.served.opening import ServedOpening, open_served
from retain.jobs.stopwatch import Stopwatch
from retain.recipe import MeasureRecipe
from retain.records.lock import output_folder
from retain.records.result import Cost, MethodRecord, Parameters, Result
from retain.records.served_record import ActingCheck
from retain.report.write import RUN_FILES
from retain.served.transport import ServerError

KEPT = "what was answered is kept"


@dataclass(frozen=True)
class Checked:
    """What `--only-check` found.

    Attributes:
        acting: the answer.
        cautions: differences of the server's rendering.
        told: other sentences.
    """

    acting: ActingCheck
    cautions: tuple[str, ...]
    told: tuple[str, ...]


def check_served(recipe: MeasureRecipe, events: Events) -> Checked:
    """Tell whether the adapter acts where it is served; nothing is written.

    Raises:
        InputError: data, models or servers cannot be used as asked.
        RetainError: the server failed.
    """
    with open_served(recipe, events) as opened:
        base, _ = opened.load_base()
        return Checked(acting(opened, base, events), opened.looked.cautions, opened.told)


def measure_served(recipe: MeasureRecipe, events: Events) -> Result:
    """Measure a served model against its base and write the record.

    What the server answered is kept in the output folder until the record is complete, so that the same command goes
    on where it was interrupted.

    Raises:
        InputError: data, models or servers cannot be used as asked.
        RetainError: the server failed.
    """
    with open_served(recipe, events) as opened, output_folder(Path(recipe.output), RUN_FILES):
        opened.keep_answers()
        try:
            return _measure(opened, events)
        except KeyboardInterrupt as error:
            opened.close()
            raise KeyboardInterrupt(KEPT) from error
        except ServerError as error:
            opened.close()
            raise RetainError(f"{error} {KEPT.capitalize()}; the same command goes on from there.") from error


def _measure(opened: ServedOpening, events: Events) -> Result:
    recipe = opened.recipe
    needed = opened.base is None or recipe.adapter is not None
    base, base_hash = opened.load_base() if needed else (None, "")
    with Stopwatch() as measuring:
        found = acting(opened, base, events) if recipe.adapter is not None else None
        measured = measure_sides(opened.sides(base, events))
    kept = sum(side.store.found for side in opened.served)
    notes = [*measured.notes, *unread_told(opened.suites.of("task"))]
    if kept:
        notes.append(f"{kept:,} answers were kept from an interrupted measurement of the same server and model.")
    result = Result(
        model=recipe.model,
        method=MethodRecord(name="served", config=_config(recipe)),
        seed=None,
        parameters=Parameters(trainable=0, total=0, adapter_bytes=0),
        **measured.fields(),
        served=opened.records(),
        acting=found,
        cost=Cost(measure_seconds=measuring.seconds),
        provenance=provenance(suite_hashes(opened.suites), base_hash, notes),
    )
    written = write_record(Path(recipe.output), result, measured.items)
    write_junit(recipe.junit, {written.method.name: written})
    for side in opened.served:
        side.store.forget()
    return written


def _config(recipe: MeasureRecipe) -> dict[str, Any]:
    """What was served, as the record names the method that changed a model."""
    return {} if recipe.adapter is None else {"adapter": recipe.adapter}
