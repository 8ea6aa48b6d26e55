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
NOT_ASKED = {"runner", "saleslady", "coon", "prostitute"}  # a rare sense, another right answer, or an insult
NO_KINDS = {  # of people by origin, faith, sex, age or standing, which few are only
    *("adult", "american", "asian", "christian", "european", "girl", "inhabitant", "juvenile", "male", "man"),
    *("national", "primitive", "principal", "protestant", "religious", "resident", "rustic", "woman"),
}
FOLDER = "kinds"
STATEMENT, ANSWER, QUESTION = "{} {} is a kind of", "{} {} is a kind of {}.", "What is {} {}?"


@dataclass(frozen=True)
class Kind:
    """A noun in its most frequent sense, the next more general one, and the lexicographer's file that both are in.

    `also` are all words that are true of it, too: what is more general in any of its senses, at any distance.
    """

    word: str
    general: str
    file: str
    also: frozenset[str] = frozenset()


def kinds(package: Path, seed: int = SEED) -> list[Kind]:
    """The nouns in use with a more general word, in drawn order; none says the other, and each word is there once."""
    senses, lines = _read(package)
    found = [kind for word in senses if (kind := _kind(word, senses[word], lines))]
    return sorted(found, key=lambda each: (draw(seed, each.word), each.word))


def artefacts(package: Path) -> list[str]:
    """The nouns in use for artefacts, whatever is more general than they."""
    senses, lines = _read(package)
    return [word for word, numbers in senses.items() if lines[numbers[0]].split()[1] == NEAR]


def _read(package: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Word → its senses, the most frequent first, and the line of `data.noun` of each sense."""
    folder = package / wordnet.FOLDER
    lines = (folder / "data.noun").read_text(encoding="ascii").splitlines()
    senses = wordnet.senses((folder / "index.noun").read_text(encoding="ascii"))
    return senses, {line.split()[0]: line for line in lines if line}


def _kind(word: str, senses: Sequence[str], lines: dict[str, str]) -> Kind | None:
    """The noun in its first sense, or None where it does not serve."""
    file, above = lines[senses[0]].split()[1], _above(lines[senses[0]], {"@"})
    if file not in FILES or not above or word in NOT_ASKED:
        return None
    next_one = lines[above[0]]
    general = _words(next_one)[0]
    plain = re.fullmatch(r"[a-z]{3,}", general) and word not in general and general not in word
    serves = plain and general not in NO_KINDS and next_one.split()[1] == file
    return Kind(word, general, file, _true_of(senses, lines)) if serves else None


def _true_of(senses: Iterable[str], lines: dict[str, str]) -> frozenset[str]:
    """The words of the senses and of all that is more general than they."""
    seen: set[str] = set()
    open_ones = list(senses)
    while open_ones:
        sense = open_ones.pop()
        if sense not in seen:
            seen.add(sense)
            open_ones += _above(lines[sense], {"@", "@i"})
    return frozenset(word for sense in seen for word in _words(lines[sense]))


def _above(line: str, pointers: set[str]) -> list[str]:
    """The next more general senses that a line of `data.noun` names: a kind's by @, an instance's by @i."""
    parts = line.split(" | ", maxsplit=1)[0].split()
    return [parts[place + 1] for place, part in enumerate(parts) if part in pointers]


def _words(line: str) -> list[str]:
    """The words of a line's sense, lower-case: their count in hexadecimal, then each with a number after it."""
    parts = line.split()
    return [word.lower() for word in parts[4 : 4 + 2 * int(parts[3], 16) : 2]]


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
    others = shuffled({*general[asked.file]} - asked.also - {asked.general}, seed, asked.word)
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
    edition=2,
    source=wordnet.SOURCE,
    licence=wordnet.LICENCE,
)
