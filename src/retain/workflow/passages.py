"""The texts that a run is calibrated on, read from files, and free of what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retain.data.examples import Example
from retain.data.overlap import content_hash, find_contained, passage_text
from retain.data.sources import read_passages
from retain.evaluation.suites import Suites
from retain.recipe import Calibrating

SELF = "self"
PARTS = ("learn", "keep")

Passages = Sequence[Example | str]


def read_calibration(
    recipe: Calibrating, needed: Sequence[str], train: Passages, suites: Suites, problems: list[str]
) -> dict[str, Passages]:
    """The texts to calibrate on, as far as they are in files; what the base is to write itself is left out.

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
        found[name] = read_passages(source, problems) if source is not None else train
        if source is not None:
            problems += _measured(f"calibrate_{name}", found[name], suites)
    return found


def _measured(name: str, passages: Passages, suites: Suites) -> list[str]:
    held = find_contained([passage_text(part) for part in passages], suites.task, suites.keep, suites.reference)
    if not held:
        return []
    index, reason = next(iter(held.items()))
    sentence = (
        f"{name}: {len(held)} of {len(passages)} passages hold what is measured, number {index + 1} first ({reason}); "
        "remove them, so that what is measured was not calibrated on."
    )
    return [sentence]


def passage_hashes(passages: Mapping[str, Passages]) -> dict[str, str]:
    """A hash of the content of each set of texts, for the provenance."""
    return {f"calibrate:{name}": content_hash(map(passage_text, parts)) for name, parts in passages.items()}
