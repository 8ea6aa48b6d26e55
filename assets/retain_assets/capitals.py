"""Knowledge to keep: the capitals of countries, four choices each from one region (`countryinfo`)."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.fetch import Package
from retain_assets.text import draw, shuffled, words

PACKAGE = Package("countryinfo", "1.0.1", "b02f6f534f0a3b9cdc73fba7e08f247e39826acfa54bf080f8e4eba812066350")
SEED = 20
CHOICES = 4
STATEMENT, QUESTION = "The capital of {} is", "What is the capital of {}?"

NOT_ASKED = {
    "Antilles néerlandaises": "dissolved in 2010",
    "Serbia and Montenegro": "dissolved in 2006",
    "Palestine": "listed twice, with two capitals",
    "Palestine, State of": "listed twice, with two capitals",
    "Israel": "its capital is listed for two countries",
    "Kazakhstan": "the city has been renamed since",
    "Burundi": "the capital has moved since",
    "Swaziland": "the executive capital is another city",
    "Hong Kong": "has no capital",
    "Tokelau": "has no capital",
    "French Southern and Antarctic Lands": "has no inhabitants",
    "British Indian Ocean Territory": "has no civil inhabitants",
    "South Georgia": "has no permanent inhabitants",
}
WITH_ARTICLE = re.compile(
    r"\b(Republic|States|Kingdom|Emirates|Netherlands|Philippines|Maldives|Comoros|Seychelles|Islands|Isle)\b"
)


@dataclass(frozen=True)
class Country:
    """What a question needs to know of a country."""

    name: str
    capital: str
    region: str
    subregion: str


def country(record: dict[str, object]) -> Country | None:
    """A country of the package's data, or None where it cannot be asked about."""
    name, capital = record.get("name"), record.get("capital")
    if not isinstance(name, str) or not isinstance(capital, str) or not capital.strip() or "/" in capital:
        return None
    if name in NOT_ASKED or gives_away(name, capital):
        return None
    return Country(in_a_sentence(name), capital.strip(), str(record.get("region")), str(record.get("subregion")))


def gives_away(name: str, capital: str) -> bool:
    """Whether the name holds the capital or its beginning (Mexico → Mexico City, Tunisia → Tunis, Monaco)."""
    common = {"city", "saint", "port", "town", "island"}
    said = [word for word in words(capital) if len(word) > 3 and word not in common]
    return any(
        one.startswith(other) or other.startswith(one) for one in said for other in words(name) if len(other) > 3
    )


def in_a_sentence(name: str) -> str:
    """The name as a sentence says it: the United States, the British Virgin Islands, Saint Martin."""
    name = re.sub(r" \([^)]*\)", "", name)
    if name.startswith("The "):
        return "the " + name.removeprefix("The ")
    if ", " in name:
        noun, adjective = name.split(", ", 1)
        name = f"{adjective} {noun}"
    return f"the {name}" if WITH_ARTICLE.search(name) else name


def distractors(asked: Country, countries: Iterable[Country], seed: int = SEED) -> list[str]:
    """Three other capitals: of the same subregion where it has them, then of the same region."""
    others = [each for each in countries if each.region == asked.region and each.capital != asked.capital]
    near = {each.capital for each in others if each.subregion == asked.subregion}
    far = {each.capital for each in others} - near
    order = shuffled(near, seed, asked.name) + shuffled(far, seed, asked.name)
    return order[: CHOICES - 1]


def item(asked: Country, countries: Iterable[Country], wording: str, seed: int = SEED) -> dict[str, object]:
    """One question with its choices in drawn order; `answer` is the index of the right one."""
    choices = distractors(asked, countries, seed)
    place = draw(seed, "place", asked.name) % CHOICES
    choices.insert(place, asked.capital)
    return {"question": wording.format(asked.name), "choices": choices, "answer": place}


def distinct(countries: Iterable[Country]) -> list[Country]:
    """The countries, each once, in the order of their names."""
    return sorted({each.name: each for each in countries}.values(), key=lambda each: each.name)


def make(wheel: Path, staging: Path) -> dict[str, object]:
    """Write `capitals.jsonl` (statements to continue) and `capitals-qa.jsonl` (the same as questions for a chat)."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if re.fullmatch(r"countryinfo/data/[^/]+\.json", name))
        records = [json.loads(archive.read(name)) for name in names]
    countries = distinct(each for each in map(country, records) if each)
    for name, wording in (("capitals", STATEMENT), ("capitals-qa", QUESTION)):
        lines = [json.dumps(item(each, countries, wording), ensure_ascii=False) + "\n" for each in countries]
        (staging / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return {"countries": len(records), "items": len(countries)}


CAPITALS = Asset(
    name="capitals",
    package=PACKAGE,
    outputs=("capitals.jsonl", "capitals-qa.jsonl"),
    make=make,
    edition=1,
    source="countryinfo by Porimol Chandro",
    licence="MIT",
)
