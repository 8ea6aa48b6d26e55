"""General knowledge to keep: of what kind is a thing? WordNet's nouns with the next more general word, four choices."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retain_assets import wordnet
from retain_assets.asset import Asset
from retain_assets.rows import write
from retain_assets.text import draw, shuffled

SEED = 31
CHOICES = 4
NEAR = "06"  # the lexicographer's file of artefacts: what a shop could sell
FILES = {NEAR: "artefacts", "05": "animals", "13": "food", "18": "people", "20": "plants", "17": "nature"}
EVALUATION, REST = 300, 300  # half of each from artefacts
FOLDER = "kinds"
STATEMENT, ANSWER, QUESTION = "{} {} is a kind of", "{} {} is a kind of {}.", "What is {} {}?"


@dataclass(frozen=True)
class Kind:
    """A noun in its most frequent sense, the next more general one, and the lexicographer's file that both are in."""

    word: str
    general: str
    file: str


def kinds(package: Path, seed: int = SEED) -> list[Kind]:
    """The nouns in use with a more general word, in drawn order; none says the other, and each word is there once."""
    senses, lines = _read(package)
    found = [kind for word, sense in senses.items() if (kind := _kind(word, lines[sense], lines))]
    return sorted(found, key=lambda each: (draw(seed, each.word), each.word))


def artefacts(package: Path) -> list[str]:
    """The nouns in use for artefacts, whatever is more general than they."""
    senses, lines = _read(package)
    return [word for word, sense in senses.items() if lines[sense].split()[1] == NEAR]


def _read(package: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Word → its most frequent sense, and the line of `data.noun` of each sense."""
    folder = package / wordnet.FOLDER
    lines = (folder / "data.noun").read_text(encoding="ascii").splitlines()
    senses = wordnet.first_senses((folder / "index.noun").read_text(encoding="ascii"))
    return senses, {line.split()[0]: line for line in lines if line}


def _kind(word: str, line: str, lines: dict[str, str]) -> Kind | None:
    """The noun of one line of `data.noun`, or None where it does not serve."""
    parts = line.split(" | ", maxsplit=1)[0].split()
    upwards = [parts[place + 1] for place, part in enumerate(parts) if part == "@"]
    if parts[1] not in FILES or not upwards:
        return None
    above = lines[upwards[0]].split(" | ")[0].split()
    general = above[4].lower()
    plain = re.fullmatch(r"[a-z]{3,}", general) and word not in general and general not in word
    return Kind(word, general, parts[1]) if plain and above[1] == parts[1] else None


def split(found: Iterable[Kind], evaluation: int = EVALUATION, rest: int = REST) -> dict[str, list[Kind]]:
    """The parts `evaluation`, `control` and `calibration`, half of each artefacts and half other things."""
    near = [each for each in found if each.file == NEAR]
    far = [each for each in found if each.file != NEAR]
    parts: dict[str, list[Kind]] = {}
    start = 0
    for name, size in (("evaluation", evaluation), ("control", rest), ("calibration", rest)):
        half = slice(start, start + size // 2)
        parts[name] = [each for pair in zip(near[half], far[half], strict=True) for each in pair]
        start += size // 2
    return parts


def item(asked: Kind, general: dict[str, Sequence[str]], seed: int = SEED) -> dict[str, object]:
    """The statement with its four choices, three of them kinds of other things of the same lexicographer's file."""
    others = shuffled({each for each in general[asked.file] if each != asked.general}, seed, asked.word)
    place = draw(seed, "place", asked.word) % CHOICES
    choices = others[: CHOICES - 1]
    choices.insert(place, asked.general)
    return {
        "question": STATEMENT.format(article(asked.word).capitalize(), asked.word),
        "choices": choices,
        "answer": place,
        "condition": "artefacts" if asked.file == NEAR else "other things",
    }


def article(word: str) -> str:
    """The indefinite article of a word, by its first letter."""
    return "an" if word[0] in "aeiou" else "a"


def chat(each: Kind) -> dict[str, object]:
    """As a question of a chat with its right answer, to be calibrated on."""
    name = article(each.word)
    said = ANSWER.format(name.capitalize(), each.word, each.general)
    turns = (("user", QUESTION.format(name, each.word)), ("assistant", said))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def parts(package: Path) -> tuple[dict[str, list[Kind]], dict[str, Sequence[str]]]:
    """The kinds of each part; and the general words of each lexicographer's file, to choose from."""
    found = kinds(package)
    frequent: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in found:
        frequent[each.file][each.general] += 1
    general: dict[str, Sequence[str]] = {
        file: [word for word, times in words.items() if times > 2] for file, words in frequent.items()
    }
    return split([each for each in found if each.general in general[each.file]]), general


def make(package: Path, staging: Path) -> dict[str, object]:
    """Write `kinds/evaluation.jsonl` and `kinds/control.jsonl`."""
    found, general = parts(package)
    folder = staging / FOLDER
    return {
        name: write(folder / f"{name}.jsonl", (item(each, general) for each in found[name]))
        for name in ("evaluation", "control")
    }


KINDS = Asset(
    name="kinds",
    package=wordnet.PACKAGE,
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source=wordnet.SOURCE,
    licence=wordnet.LICENCE,
)
