"""Text to keep that is given, not generated: questions of a chat on facts and kinds that nothing measures."""

from __future__ import annotations

import json
from pathlib import Path

from retain_assets import facts, kinds, wordnet
from retain_assets.asset import Asset
from retain_assets.rows import write
from retain_assets.text import draw

SEED = 33
FILE = "given.jsonl"


def make(wheel: Path, currencies: Path, wordnet: Path, staging: Path) -> dict[str, object]:
    """Write `given.jsonl`, the rows mixed."""
    known = facts.parts(wheel, currencies)["calibration"]
    found, _ = kinds.parts(wordnet)
    rows = [*(fact.chat() for fact in known), *(kinds.chat(each) for each in found["calibration"])]
    mixed = sorted(rows, key=lambda row: draw(SEED, json.dumps(row, sort_keys=True)))
    return {"rows": write(staging / FILE, mixed)}


GIVEN = Asset(
    name="given",
    package=facts.FACTS.package,
    also=(facts.PYCOUNTRY, wordnet.PACKAGE),
    outputs=(FILE,),
    make=make,
    edition=2,
    source=f"{facts.FACTS.source}; {kinds.KINDS.source}",
    licence=f"{facts.FACTS.licence}; {kinds.KINDS.licence}",
)
