"""The texts that a run is calibrated on, read from files and checked for contamination."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from retain.activations import Statistics, load
from retain.data.contamination import content_hash, find_contained, passage_text
from retain.data.examples import Example
from retain.data.items import LabelledImage
from retain.data.rows import AnyItem, item_texts, read_rows
from retain.data.sources import read_passages
from retain.evaluate.suites.suite import Suites
from retain.recipe import Calibrating

SELF = "self"
PARTS = ("learn", "keep")

Passages = Sequence[Example | LabelledImage | str]


def read_calibration(
    recipe: Calibrating, needed: Sequence[str], train: Sequence[AnyItem | str], suites: Suites, problems: list[str]
) -> dict[str, Passages]:
    """Read the texts to calibrate on, as far as they are in files; self-generated text is left out.

    Args:
        recipe: names the sources.
        needed: "learn" and "keep", or one of them.
        train: what is learned, the default of "learn".
        suites: what is measured, none of which may be in them.
        problems: receives a sentence for each problem found.
    """
    sources = {"learn": recipe.calibrate_learn, "keep": recipe.calibrate_keep}
    found: dict[str, Passages] = {}
    for name in needed:
        source = sources[name]
        if source == SELF:
            continue
        has_images = any(isinstance(item, LabelledImage) for item in train[:1])
        if source is None:
            passages = as_passages(train)
        elif has_images:
            passages = as_passages(read_rows(source, problems).items)
        else:
            passages = read_passages(source, problems)
        found[name] = considered(passages, recipe.calibrate_tokens)
        problems += _measured(f"calibrate_{name}" if source is not None else "train", found[name], suites)
    return found


def as_passages(items: Sequence[AnyItem | str]) -> Passages:
    """Items as a model reads them in calibration: examples and images as they are, others as text."""
    return [item if isinstance(item, (Example, LabelledImage, str)) else " ".join(item_texts(item)) for item in items]


def considered(passages: Passages, tokens: int) -> Passages:
    """About as many passages as `tokens` tokens need, in a drawn order."""
    order = list(passages)
    random.Random(0).shuffle(order)  # noqa: S311 -- which texts are used, not a secret
    room = CHARACTERS_A_TOKEN * tokens
    for number, passage in enumerate(order, start=1):
        room -= (
            CHARACTERS_A_TOKEN * TOKENS_PER_IMAGE if isinstance(passage, LabelledImage) else len(passage_text(passage))
        )
        if room <= 0:
            return order[:number]
    return order


CHARACTERS_A_TOKEN = 20
"""More characters than a token of any tokenizer has on average, so that enough passages are considered."""

TOKENS_PER_IMAGE = 64
"""Tokens that an image counts for in `calibrate_tokens`: about the patches of a small one."""


def _measured(name: str, passages: Passages, suites: Suites) -> list[str]:
    held = find_contained(passages, suites.task_items, suites.keep_items, suites.held_out_text_joined)
    if not held:
        return []
    told = f"{len(held)} of {len(passages)} passages hold what is measured (of one: {next(iter(held.values()))})"
    return [f"{name}: {told}; remove them, so that what is measured was not calibrated on."]


def given_statistics(folder: str, needed: Sequence[str]) -> dict[str, Statistics]:
    """Open second moments that `retain calibrate` wrote.

    Raises:
        InputError: the folder does not hold those that are needed.
    """
    return {name: load(Path(folder).expanduser() / name) for name in needed}


def passage_hashes(passages: Mapping[str, Passages]) -> dict[str, str]:
    """A hash of the content of each set of texts, for the provenance."""
    return {f"calibrate:{name}": content_hash(map(passage_text, parts)) for name, parts in passages.items()}
