"""World knowledge to keep, in both formats: capitals, continents and currencies (`countryinfo`, `pycountry`).

The same facts are asked as statements to continue, with choices, and as questions of a chat, to be answered in writing.
Countries are in one of three parts: no fact of a country that is measured is calibrated on.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.capitals import CAPITALS, Country, country, distinct, distractors
from retain_assets.fetch import Package
from retain_assets.rows import write
from retain_assets.text import clean, draw, shuffled, words
from retain_assets.world import CONTINENTS, ON_TWO_CONTINENTS, accepted

SEED = 32
CHOICES = 4
PARTS = {"evaluation": 106, "control": 40, "calibration": 34}  # of the most populous countries
FOLDER = "facts"
PYCOUNTRY = Package("pycountry", "26.2.16", "115c4baf7cceaa30f59a4694d79483c9167dbce7a9de4d3d571c5f3ea77c305a")
NO_UNIT = {"beac", "bceao", "sterling", "omani", "renminbi", "oro"}  # what may end a currency's name in ISO 4217
SPELLINGS = (  # of one unit, of which any is right; none is a wrong answer where another is the right one
    ("yuan", "renminbi"),
    ("rial", "riyal"),
    ("pa'anga", "paanga"),
    ("colon", "colón"),
    ("guarani", "guaraní"),
    ("cordoba", "córdoba"),
    ("krona", "króna"),
    ("zloty", "złoty"),
    ("tugrik", "tögrög", "togrog"),
    ("som", "sum", "soum"),
    ("ruble", "rouble"),
    ("koruna", "crown"),
)
CLOSE = (("krone", "krona"), ("leu", "lev"), ("dinar", "denar"))  # too near to be told apart as choices
CHANGED = {"Zimbabwe"}  # had another currency by the time ISO's table was made
STATEMENTS = {
    "capital": "The capital of {} is",
    "continent": "On the map of the world, {} can be found in",
    "currency": "People in {} pay with the",
}
QUESTIONS = {
    "capital": "Answer with the name alone: What is the capital of {}?",
    "continent": "Answer with the name alone: On which continent is {}?",
    "currency": "Answer with the name alone: What is the currency of {} called?",
}


@dataclass(frozen=True)
class Fact:
    """One fact of a country: what is asked, the answer, the ways of writing it, and wrong answers to choose from."""

    country: str
    asked: str
    answer: str
    ways: tuple[str, ...]
    others: tuple[str, ...]

    def choice(self) -> dict[str, object]:
        """As a statement to continue."""
        place = draw(SEED, "place", self.asked, self.country) % CHOICES
        choices = list(self.others[: CHOICES - 1])
        choices.insert(place, self.answer)
        statement = STATEMENTS[self.asked].format(self.country)
        return {"question": statement, "choices": choices, "answer": place, **self._belongs()}

    def question(self) -> dict[str, object]:
        """As a question of a chat."""
        return {"question": QUESTIONS[self.asked].format(self.country), "answers": list(self.ways), **self._belongs()}

    def chat(self) -> dict[str, object]:
        """As a question with its right answer, to be calibrated on."""
        said = f"{STATEMENTS[self.asked].format(self.country)} {self.answer}."
        turns = (("user", QUESTIONS[self.asked].format(self.country)), ("assistant", said))
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    def _belongs(self) -> dict[str, str]:
        return {"condition": self.asked, "group": self.country}


def money(content: str, codes: dict[str, str]) -> dict[str, str]:
    """Currency code → its unit in one word, lower-case as in a sentence: Swiss Franc and CFA Franc BEAC → franc."""
    names = {entry["alpha_3"]: clean(entry["name"]) for entry in json.loads(content)["4217"]}
    return {code: unit(names[code]) for code in codes.values() if code in names}


def unit(name: str) -> str:
    """The last word of a currency's name that is a unit, lower-case: Rial Omani → rial."""
    said = [re.sub(r"[^a-z']", "", word.lower().replace("’", "'")) for word in name.split()]
    return [word for word in said if word not in NO_UNIT][-1]


def spellings(unit: str) -> list[str]:
    """The unit and its other spellings."""
    return [unit, *(word for one in SPELLINGS if unit in one for word in one if word != unit)]


def facts(
    countries: Sequence[Country], codes: dict[str, str], names: dict[str, str], seed: int = SEED
) -> dict[str, list[Fact]]:
    """The facts of each country in drawn order; the currency where one code and one word tell it and no name does."""
    common = Counter(names[code] for code in codes.values() if code in names)
    usual = [name for name, times in common.items() if times > 1]
    found: dict[str, list[Fact]] = {}
    for each in sorted(countries, key=lambda one: (draw(seed, one.name), one.name)):
        ways = tuple(accepted(each.capital))
        own = [Fact(each.name, "capital", each.capital, ways, tuple(distractors(each, countries, seed)))]
        continent = CONTINENTS.get(each.region)
        if continent and each.name not in ON_TWO_CONTINENTS and not _said(each.name, CONTINENTS.values()):
            others = tuple(shuffled(set(CONTINENTS.values()) - {continent}, seed, each.name))
            own.append(Fact(each.name, "continent", continent, (continent,), others))
        pays = names.get(codes.get(each.name, ""), "")
        if len(pays) > 2 and each.name not in CHANGED and not _said(each.name, (pays,)):
            right = {*spellings(pays), *(word for pair in CLOSE if pays in pair for word in pair)}
            others = tuple(shuffled(set(usual) - right, seed, each.name, "money"))
            written = (form for word in spellings(pays) for form in (word, f"{word}s"))
            own.append(Fact(each.name, "currency", pays, tuple(written), others))
        found[each.name] = own
    return found


def _said(name: str, answers: Iterable[str]) -> bool:
    beginnings = tuple(answer.lower() for answer in answers)
    return any(word.startswith(beginnings) for word in words(name))


def parts(wheel: Path, currencies: Path) -> dict[str, list[Fact]]:
    """The facts of each part of the most populous countries, mixed."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if re.fullmatch(r"countryinfo/data/[^/]+\.json", name))
        records = [json.loads(archive.read(name)) for name in names]
    with zipfile.ZipFile(currencies) as archive:
        iso = archive.read("pycountry/databases/iso4217.json").decode("utf-8")
    pairs = [(made, record) for record in records if (made := country(record))]
    pairs = sorted(pairs, key=lambda pair: -int(pair[1].get("population") or 0))[: sum(PARTS.values())]
    codes = {made.name: record["currencies"][0] for made, record in pairs if len(record.get("currencies") or ()) == 1}
    known = facts(distinct(made for made, _ in pairs), codes, money(iso, codes))
    order, found, start = list(known), {}, 0
    for part, size in PARTS.items():
        chosen = [fact for name in order[start : start + size] for fact in known[name]]
        found[part] = sorted(chosen, key=lambda fact: draw(SEED, fact.asked, fact.country))
        start += size
    return found


def make(wheel: Path, currencies: Path, staging: Path) -> dict[str, object]:
    """Write `facts/choices.jsonl` and `facts/questions.jsonl`, and the same of other countries for control."""
    folder, counts = staging / FOLDER, {}
    for part, found in parts(wheel, currencies).items():
        counts[part] = len(found)
        if part != "calibration":
            prefix = "" if part == "evaluation" else f"{part}-"
            write(folder / f"{prefix}choices.jsonl", (fact.choice() for fact in found))
            write(folder / f"{prefix}questions.jsonl", (fact.question() for fact in found))
    return dict(counts)


FACTS = Asset(
    name="facts",
    package=CAPITALS.package,
    also=(PYCOUNTRY,),
    outputs=(FOLDER,),
    make=make,
    edition=2,
    source="countryinfo by Porimol Chandro; ISO 4217 as in pycountry by Christian Theune",
    licence="MIT; LGPL-2.1 for pycountry's tables",
)
