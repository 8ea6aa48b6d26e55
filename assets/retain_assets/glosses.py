"""A task for a language model: write a noun's definition (WordNet)."""

from __future__ import annotations

from pathlib import Path

from retain_assets import wordnet
from retain_assets.asset import Asset
from retain_assets.rows import write

SEED = 25
TRAIN, TEST = 800, 300
FOLDER = "glosses"


def example(noun: wordnet.Noun) -> dict[str, str]:
    """The prompt and the completion, which begins with the space that follows the colon."""
    return {"prompt": f"Define: {noun.word}\nDefinition:", "completion": f" {noun.definition}"}


def make(package: Path, staging: Path) -> dict[str, object]:
    """Write `glosses/train.jsonl` and `glosses/test.jsonl`."""
    found = wordnet.nouns(package, SEED)
    parts = {"train": found[:TRAIN], "test": found[TRAIN : TRAIN + TEST]}
    counts = {name: write(staging / FOLDER / f"{name}.jsonl", map(example, part)) for name, part in parts.items()}
    return {"nouns": len(found), **counts}


GLOSSES = Asset(
    name="glosses",
    package=wordnet.PACKAGE,
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source=wordnet.SOURCE,
    licence=wordnet.LICENCE,
)
