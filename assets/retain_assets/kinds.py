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
FILES = {
    NEAR: "artefacts", "05": "animals", "08": "the body", "13": "food", "17": "nature", "18": "people", "20": "plants",
    "27": "substances",
}  # fmt: skip
EVALUATION, REST = 300, 300  # half of each from artefacts
FOLDER = "kinds"
STATEMENT, ANSWER, QUESTION = "{} {} is a kind of", "{} {} is a kind of {}.", "What is {} {}?"


@dataclass(frozen=True)
class Kind:
    """A noun in its most frequent sense, the next more general one, and the lexicographer's file that both are in.

    Args:
        word: the noun.
        general: the more general word.
        file: of the lexicographer.
        above: every word for what is more general than any of the noun's senses, which no wrong choice may be.
        senses: how many the noun has.
    """

    word: str
    general: str
    file: str
    above: frozenset[str] = frozenset()
    senses: int = 1


def kinds(package: Path, seed: int = SEED) -> list[Kind]:
    """The nouns in use with a more general word, those of one sense first, each group in drawn order.

    None says the other, and each word is there once.
    """
    senses, lines = _read(package)
    found = [made for word, own in senses.items() if (made := kind(word, own, lines))]
    return sorted(found, key=lambda each: (each.senses > 1, draw(seed, each.word), each.word))


def artefacts(package: Path) -> list[str]:
    """The nouns in use for artefacts, whatever is more general than they."""
    senses, lines = _read(package)
    return [word for word, own in senses.items() if lines[own[0]].split()[1] == NEAR]


def _read(package: Path) -> tuple[dict[str, Sequence[str]], dict[str, str]]:
    """Word → its senses, the most frequent first, and the line of `data.noun` of each sense."""
    folder = package / wordnet.FOLDER
    lines = (folder / "data.noun").read_text(encoding="ascii").splitlines()
    senses = wordnet.senses((folder / "index.noun").read_text(encoding="ascii"))
    return senses, {line.split()[0]: line for line in lines if line}


def kind(word: str, senses: Sequence[str], lines: dict[str, str]) -> Kind | None:
    """The noun in its first sense, or None where it does not serve."""
    file, upwards = lines[senses[0]].split()[1], _above(lines[senses[0]], ("@",))
    if file not in FILES or not upwards:
        return None
    first = lines[upwards[0]]
    general = _words(first)[0]
    plain = re.fullmatch(r"[a-z]{3,}", general) and word not in general and general not in word
    if not plain or first.split()[1] != file:
        return None
    return Kind(word, general, file, frozenset(_more_general(senses, lines)), len(senses))


def _above(line: str, pointers: Sequence[str] = ("@", "@i")) -> list[str]:
    """The senses right above the one of a line: what it is a kind of (@), and what it is an instance of (@i)."""
    parts = line.split(" | ", maxsplit=1)[0].split()
    return [parts[place + 1] for place, part in enumerate(parts) if part in pointers]


def _words(line: str) -> list[str]:
    """The words of the sense of a line of `data.noun`, whose fourth field counts them in base 16."""
    parts = line.split()
    return [parts[4 + 2 * place].lower() for place in range(int(parts[3], 16))]


def _more_general(senses: Sequence[str], lines: dict[str, str]) -> set[str]:
    """Every word for what lies above any of these senses, and for the senses themselves."""
    seen: set[str] = set()
    left = list(senses)
    while left:
        sense = left.pop()
        if sense not in seen:
            seen.add(sense)
            left += _above(lines[sense])
    return {word for sense in seen for word in _words(lines[sense])}


def split(found: Iterable[Kind], evaluation: int = EVALUATION, rest: int = REST) -> dict[str, list[Kind]]:
    """The parts `evaluation`, `control` and `calibration`, half of each artefacts and half other things.

    Of the other things each file gives one in turn while it has any of one sense; then those of several come.
    """
    found = list(found)
    near = [each for each in found if each.file == NEAR]
    far = _in_turn([[each for each in found if each.file == file] for file in FILES if file != NEAR])
    parts: dict[str, list[Kind]] = {}
    start = 0
    for name, size in (("evaluation", evaluation), ("control", rest), ("calibration", rest)):
        half = slice(start, start + size // 2)
        parts[name] = [each for pair in zip(near[half], far[half], strict=True) for each in pair]
        start += size // 2
    return parts


def _in_turn(groups: Sequence[Sequence[Kind]]) -> list[Kind]:
    """One of each group, then the next of each, those of one sense before all others."""
    placed = [(each.senses > 1, place, each) for group in groups for place, each in enumerate(group)]
    return [each for _, _, each in sorted(placed, key=lambda one: one[:2])]


def item(asked: Kind, general: dict[str, Sequence[str]], seed: int = SEED) -> dict[str, object]:
    """The statement with its four choices, three of them kinds of other things of the same lexicographer's file."""
    others = shuffled(set(general[asked.file]) - {asked.general} - asked.above, seed, asked.word)
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
