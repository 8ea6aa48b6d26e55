"""Calibration and replay texts, read from files and free of what is measured."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from retain.activations import Statistics, load
from retain.data.contamination import find_contained
from retain.data.forms import read_rows
from retain.data.item import DataItem, modality_of_items
from retain.data.passages import read_calibration_texts
from retain.data.preprocess import TOKENS_PER_IMAGE
from retain.data.texts import content_hash
from retain.evaluate.suites.suite import Suites
from retain.recipe import CalibrationOptions
from retain.records.paths import expanded

SELF = "self"
PARTS = ("learn", "keep")

CHARACTERS_A_TOKEN = 20
"""More than any tokenizer has on average, so that enough texts are considered."""

Texts = Sequence[DataItem]
"""Texts or images, as `DataItem.for_calibration` gives them."""


def read_calibration(
    recipe: CalibrationOptions, needed: Sequence[str], train: Sequence[DataItem], suites: Suites, problems: list[str]
) -> dict[str, Texts]:
    """Read the texts to calibrate on, except those that the base is to write itself.

    Args:
        recipe: names the sources.
        needed: "learn" and "keep", or one of them.
        train: training data, the default of "learn".
        suites: what is measured, none of which may be in them.
        problems: receives a sentence for each problem.
    """
    sources = {"learn": recipe.calibrate_learn, "keep": recipe.calibrate_keep}
    found: dict[str, Texts] = {}
    for name in needed:
        source = sources[name]
        if source == SELF:
            continue
        if source is None:
            texts = for_calibration(train)
        elif modality_of_items(train) == "image":
            texts = for_calibration(read_rows(source, problems).items)
        else:
            texts = read_calibration_texts(source, problems)
        found[name] = considered(texts, recipe.calibrate_tokens)
        problems += _contamination(f"calibrate_{name}" if source is not None else "train", found[name], suites)
    return found


def for_calibration(items: Sequence[DataItem]) -> Texts:
    """Items of any form as a model reads them in calibration."""
    return [item.for_calibration for item in items]


def considered(texts: Texts, tokens: int) -> Texts:
    """The texts that `tokens` tokens can be taken from: in a drawn order, about as many as that needs."""
    order = list(texts)
    random.Random(0).shuffle(order)  # noqa: S311 -- which texts are used, not a secret
    room = CHARACTERS_A_TOKEN * tokens
    for number, text in enumerate(order, start=1):
        room -= len(text.full_text) if text.modality == "text" else CHARACTERS_A_TOKEN * TOKENS_PER_IMAGE
        if room <= 0:
            return order[:number]
    return order


def _contamination(name: str, texts: Texts, suites: Suites) -> list[str]:
    held = find_contained(texts, suites.task_items, suites.keep_items, suites.held_out_text_joined)
    if not held:
        return []
    count = f"{len(held)} of {len(texts)} texts hold what is measured (of one: {next(iter(held.values()))})"
    return [f"{name}: {count}; remove them, so that what is measured was not calibrated on."]


def given_statistics(folder: str, needed: Sequence[str]) -> dict[str, Statistics]:
    """Open second moments that `retain calibrate` wrote.

    Raises:
        InputError: the folder does not hold those that are needed.
    """
    return {name: load(expanded(folder) / name) for name in needed}


def text_hashes(texts: Mapping[str, Texts]) -> dict[str, str]:
    """A hash of the content of each set of texts, for the provenance."""
    return {f"calibrate:{name}": content_hash(text.full_text for text in parts) for name, parts in texts.items()}
