"""The benchmark's definitions: nouns are learned (WordNet); verbs are the shift."""

from __future__ import annotations

from pathlib import Path

from retain_assets import kinds, wordnet
from retain_assets.asset import Asset
from retain_assets.glosses import example
from retain_assets.rows import write

SEED = 35
SIZES = {"train": 800, "test": 100, "validation": 40}
FOLDER = "definitions"


def make(package: Path, staging: Path) -> dict[str, object]:
    """Write `definitions/train.jsonl` and `definitions/test.jsonl`, whose parts are named by `condition`.

    No noun is one that the suite on kinds asks about: its definition begins with the kind.
    """
    asked = {each.word for part in kinds.parts(package)[0].values() for each in part}
    nouns = [each for each in wordnet.nouns(package, SEED) if each.word not in asked]
    parts: dict[str, list[wordnet.Noun]] = {}
    start = 0
    for part, size in SIZES.items():
        parts[part] = nouns[start : start + size]
        start += size
    taken = {each.word for each in nouns[:start]} | asked
    verbs = [each for each in wordnet.words_in_use(package, "verb", SEED) if each.word not in taken]
    parts["shifted"] = verbs[: SIZES["validation"]]
    train = map(example, parts.pop("train"))
    measured = [{**example(each), "condition": part} for part, own in parts.items() for each in own]
    folder = staging / FOLDER
    return {"train": write(folder / "train.jsonl", train), "test": write(folder / "test.jsonl", measured)}


DEFINITIONS = Asset(
    name="definitions",
    package=wordnet.PACKAGE,
    outputs=(FOLDER,),
    make=make,
    edition=2,
    source=wordnet.SOURCE,
    licence=wordnet.LICENCE,
)
