"""Knowledge to keep, asked in two more ways: continents, and capitals to be written or chosen (`countryinfo`)."""

from __future__ import annotations

import json
import re
import unicodedata
import zipfile
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.capitals import CAPITALS, QUESTION, Country, country, distinct, item
from retain_assets.rows import write
from retain_assets.text import draw, shuffled, words

SEED = 28
STATEMENT, PROMPT = "On the map of the world, {} can be found in", "Question: {}\nAnswer:"
CONTINENTS = {"Africa": "Africa", "Americas": "America", "Asia": "Asia", "Europe": "Europe", "Oceania": "Oceania"}
ON_TWO_CONTINENTS = {
    "Russia",
    "Russian Federation",
    "Turkey",
    "Egypt",
    "Georgia",
    "Armenia",
    "Azerbaijan",
    "Cyprus",
}


def continent_item(asked: Country, seed: int = SEED) -> dict[str, object] | None:
    """On which continent a country lies, of five; None where it lies on two or its name says it."""
    right = CONTINENTS.get(asked.region)
    if right is None or asked.name in ON_TWO_CONTINENTS or _says_a_continent(asked.name):
        return None
    choices = shuffled(CONTINENTS.values(), seed, asked.name)
    return {
        "question": STATEMENT.format(asked.name),
        "choices": choices,
        "answer": choices.index(right),
        "group": asked.name,
    }


def _says_a_continent(name: str) -> bool:
    return any(word.startswith(("africa", "america", "asia", "europe", "oceania")) for word in words(name))


def world_item(asked: Country, countries: list[Country]) -> dict[str, object]:
    """The question for a capital with the accepted answers, and the same four choices as in `capitals-qa.jsonl`."""
    made = item(asked, countries, QUESTION)
    return made | {
        "question": PROMPT.format(made["question"]),
        "answers": accepted(asked.capital),
        "group": asked.name,
    }


def accepted(capital: str) -> list[str]:
    """The capital as written; also without accents, and without a district or a second part after a comma."""
    ways = [capital, re.sub(r"(,.*| D\.?C\.?)$", "", capital)]
    ways += [unicodedata.normalize("NFKD", way).encode("ascii", "ignore").decode("ascii") for way in ways]
    return list(dict.fromkeys(ways))


def make(wheel: Path, staging: Path) -> dict[str, object]:
    """Write `continents.jsonl` and `world-questions.jsonl`."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if re.fullmatch(r"countryinfo/data/[^/]+\.json", name))
        records = [json.loads(archive.read(name)) for name in names]
    countries = distinct(each for each in map(country, records) if each)
    mixed = sorted(countries, key=lambda each: draw(SEED, each.name))
    continents = [made for each in mixed if (made := continent_item(each))]
    return {
        "continents": write(staging / "continents.jsonl", continents),
        "world_questions": write(staging / "world-questions.jsonl", [world_item(each, countries) for each in mixed]),
    }


WORLD = Asset(
    name="world",
    package=CAPITALS.package,
    outputs=("continents.jsonl", "world-questions.jsonl"),
    make=make,
    edition=1,
    source=CAPITALS.source,
    licence=CAPITALS.licence,
)
