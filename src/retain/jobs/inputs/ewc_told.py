"""What EWC takes of memory and disk, what it leaves free, and why it cannot hold what would be trained."""

from __future__ import annotations

from typing import Any

from retain.errors import InputError
from retain.hf.models.sides import is_adapted, mutates_base
from retain.hf.models.trained_parts import size_of, trained_parts, without_matrix
from retain.recipe import Recipe
from retain.records import numbers

BYTES_A_WEIGHT = 2
"""Of the Fisher information, which is kept in bfloat16; while it is measured it is float32."""

SHOWN = 3
"""Names given in a sentence."""


def ewc_told(recipe: Recipe, model: Any) -> list[str]:
    """Sentences on what EWC takes and leaves free; none where it is not asked for.

    Args:
        recipe: of one run.
        model: as it will be trained, with or without its weights.

    Raises:
        InputError: EWC cannot hold what is trained.
    """
    if not recipe.ewc:
        return []
    try:
        size = size_of(trained_parts(model))
    except InputError as error:
        raise InputError([f"ewc: {problem}" for problem in error.problems]) from error
    kept, measured = (numbers.bytes_size(size * each) for each in (BYTES_A_WEIGHT, 2 * BYTES_A_WEIGHT))
    takes = f"{kept} of memory and disk, and {measured} while it is measured"
    told = [f"ewc: the Fisher information of {size:,} weights takes {takes}."]
    if not is_adapted(model) or mutates_base(model):
        told.append("ewc: the base is loaded a second time, since training changes the one in the model.")
    if free := without_matrix(model):
        shown = ", ".join(free[:SHOWN]) + (", …" if len(free) > SHOWN else "")
        told.append(f"ewc: what is trained in {len(free)} modules that are no linear layers is not held: {shown}.")
    return told
