"""WordNet's nouns with their definitions and example sentences, from Debian's `wordnet-base`.

The files are those of wndb(5WN): `index.noun` lists each word's senses, the most frequent first, and `data.noun` has
one line a sense, with the definition and the examples after a bar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from retain_assets.fetch import DebianPackage
from retain_assets.text import clean, draw, words

PACKAGE = DebianPackage("wordnet-base", "1:3.0-37", "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752")
SOURCE = "WordNet 3.0 (Princeton University)"
LICENCE = "the WordNet 3.0 licence: free for any use, with its copyright notice"
FOLDER = "usr/share/wordnet"
SHORTEST, LONGEST = 4, 20  # words a definition


@dataclass(frozen=True)
class Noun:
    """A word in its most frequent sense."""

    word: str
    definition: str
    examples: tuple[str, ...]


def nouns(package: Path, seed: int) -> list[Noun]:
    """The nouns in use, in drawn order: no definition and no example of one is also another's."""
    return words_in_use(package, "noun", seed)


def words_in_use(package: Path, part: str, seed: int) -> list[Noun]:
    """The same of another part of speech, as WordNet's files name it: `verb`."""
    first = first_senses((package / FOLDER / f"index.{part}").read_text(encoding="ascii"))
    glosses = dict(map(gloss, _lines((package / FOLDER / f"data.{part}").read_text(encoding="ascii"))))
    found = [noun for word, sense in first.items() if (noun := defined(word, glosses[sense]))]
    return distinct(sorted(found, key=lambda each: (draw(seed, each.word), each.word)))


def first_senses(index: str) -> dict[str, str]:
    """Word → its most frequent sense, of the words that `senses` finds."""
    return {word: found[0] for word, found in senses(index).items()}


def senses(index: str) -> dict[str, list[str]]:
    """Word → its senses, the most frequent first, of the one-word entries that WordNet's makers met in running text.

    A line is: word, part of speech, number of senses, number of pointer kinds, those kinds, number of senses, number
    of senses that were met, the senses.
    """
    found = {}
    for line in _lines(index):
        parts = line.split()
        met, numbers = int(parts[5 + int(parts[3])]), parts[6 + int(parts[3]) :]
        if met and re.fullmatch(r"[a-z]{3,}", parts[0]):
            found[parts[0]] = numbers
    return found


def gloss(line: str) -> tuple[str, str]:
    """The sense's number and what stands after the bar."""
    left, _, right = line.partition("|")
    return left.split()[0], clean(right)


def defined(word: str, text: str) -> Noun | None:
    """The noun, or None where its definition is too short, too long, quotes somebody or says the word itself."""
    first, *rest = re.split(r';\s*(?=")', text)
    definition = re.sub(r"^\([^)]*\)\s*", "", first).strip(" ;")
    if '"' in definition or not SHORTEST <= len(definition.split()) <= LONGEST or word in words(definition):
        return None
    examples = tuple(match[1] for each in rest if (match := re.fullmatch(r'"([^"]+)";?', each.strip())))
    return Noun(word, definition, examples)


def distinct(found: list[Noun]) -> list[Noun]:
    """The nouns without those that share a definition (synonyms) or an example with one before."""
    seen: set[tuple[str, ...]] = set()
    kept = []
    for noun in found:
        said = {tuple(words(text)) for text in (noun.definition, *noun.examples)}
        if not said & seen:
            kept.append(noun)
        seen |= said
    return kept


def _lines(table: str) -> list[str]:
    """The lines without the licence, which is indented."""
    return [line for line in table.splitlines() if line and not line.startswith(" ")]
