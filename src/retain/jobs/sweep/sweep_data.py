"""The data of a sweep: rows to learn, rows held out, and text to keep. Test and control data stay out."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retain.data.forms import evenly
from retain.data.item import DataItem, items_hash, labels_of
from retain.data.texts import content_hash
from retain.errors import InputError
from retain.jobs.calibrate import Calibration
from retain.jobs.inputs.calibration_texts import Texts, considered, for_calibration
from retain.jobs.inputs.data import Data
from retain.jobs.regularisers import LONGEST
from retain.recipe import AdviseRecipe
from retain.train.regularise.divergence import Batch

KEEP_TOKENS = 6144
"""Tokens of each set of texts that a sweep reads, or lets the base generate, at most; a training takes the recipe's."""

PROBES = 16
"""Texts or images to keep that are measured on at most, and never more than a quarter of all."""

FEWEST = 6
"""Training rows below which nothing is held out."""


@dataclass(frozen=True)
class SweepData:
    """The data of a sweep.

    Attributes:
        learn: training rows that it learns.
        held: training rows that it measures on; none of them, nor another of their group, is learned.
        probes: model inputs of the text to keep that it measures on.
        rows: how many texts or images these are.
        kept: the other text to keep: for replay, for a KL penalty, and to calibrate on.
        texts: text to learn, for a method that is calibrated on it; not the rows held out.
        notes: remarks for the reader of the advice.
        key: a hash of all of this.
    """

    learn: Sequence[DataItem]
    held: Sequence[DataItem]
    probes: Sequence[Batch]
    rows: int
    kept: Sequence[Any]
    texts: Mapping[str, Texts]
    notes: tuple[str, ...]
    key: str


def hold_out(items: Sequence[DataItem], most: int) -> tuple[list[DataItem], list[DataItem]]:
    """Split training rows into those that a sweep learns and those that it measures on.

    Rows are held out evenly, a third of them at most. A row that equals one of them, or is of its group, is not
    learned. A class that would then be learned nowhere gets its rows back.

    Raises:
        InputError: too few rows.
    """
    held = list(evenly(items, min(most, len(items) // 3))) if len(items) >= FEWEST else []
    contents = {item.content() for item in held}
    groups = {item.group for item in held} - {None}
    learn = [item for item in items if item.content() not in contents and item.group not in groups]
    missing = set(labels_of(items)) - set(labels_of(learn))
    back = [item for item in held if missing.intersection(labels_of([item]))]
    held = [item for item in held if not missing.intersection(labels_of([item]))]
    if len(held) < 2 or not learn:
        raise InputError(
            f"train: {len(items)} rows are too few, too alike or in too few groups to hold some of them out of a "
            f"sweep; give at least {FEWEST} different ones, or choose method and learning rate by retain compare."
        )
    return learn + back, held


def read_sweep_data(
    recipe: AdviseRecipe, data: Data, job: Calibration, learn: Sequence[DataItem], held: Sequence[DataItem]
) -> SweepData:
    """Split the text to keep into probes, which are measured on, and the rest.

    Args:
        recipe: of the sweep.
        data: of the recipe.
        job: reads the text to keep, or lets the base generate it.
        learn: training rows that the sweep learns.
        held: those it measures on.

    Raises:
        InputError: there is no text to keep.
    """
    preprocessor = job.preprocessor
    rows = preprocessor.predicting_rows(job.rows(data.texts.get("keep")))
    if not rows:
        raise InputError("calibrate_keep: there is no text to keep, on which a sweep could measure; give a file.")
    random.Random(recipe.seed).shuffle(rows)  # noqa: S311 -- which texts are used, not a secret
    count = max(1, min(PROBES, len(rows) // 4))
    probes, kept, notes = rows[:count], rows[count:], list(job.notes)
    if not kept:
        kept = probes
        notes.append("There was one text to keep, so what a method was calibrated on is also what was measured.")
    learned = {"learn": _learned(recipe, data, learn)} if "learn" in data.texts else {}
    hashed = [items_hash(learn), items_hash(held), *(str(preprocessor.row_content(row)) for row in (*probes, *kept))]
    hashed += [content_hash(text.full_text for text in texts) for texts in learned.values()]
    batches = preprocessor.row_batches(probes, recipe.evaluation_batch_size, LONGEST)
    return SweepData(learn, held, batches, count, kept, learned, tuple(notes), content_hash(hashed))


def _learned(recipe: AdviseRecipe, data: Data, learn: Sequence[DataItem]) -> Texts:
    stated = recipe.calibrate_learn is not None
    return data.texts["learn"] if stated else considered(for_calibration(learn), KEEP_TOKENS)
