"""A task with several domains: is a snippet negative or positive? (`vaderSentiment`: rated by 20 people each).

A classifier learns on films alone and is asked about films, products, tweets and news.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.reference import REFERENCE, tables
from retain_assets.rows import balanced, write
from retain_assets.text import clean, draw, words

SEED = 22
TRAIN, TEST = 600, 150  # of each of the two labels
NEUTRAL = 0.5  # a mean rating nearer to zero than this has no label; the scale runs from -4 to 4
SHORTEST = 3  # words
LEARNT = "movies"
DOMAINS = {
    "movies": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "tweets": "tweets",
    "news": "nytEditorialSnippets",
}
FOLDER = "valence"


@dataclass(frozen=True)
class Snippet:
    """A rated piece of text; `group` is its review or article where the data name one."""

    text: str
    label: str
    domain: str
    group: str | None

    def row(self) -> dict[str, str]:
        """As written to disk."""
        found = {"text": self.text, "label": self.label, "domain": self.domain}
        return found | ({"group": self.group} if self.group else {})


def snippets(table: str, domain: str) -> list[Snippet]:
    """The rated snippets of a ground-truth table (number or `document_sentence`, mean rating, text), each text once.

    A text that occurs with both labels, or under several documents, keeps its first place.
    """
    found: dict[tuple[str, ...], Snippet] = {}
    for line in table.splitlines():
        number, rating, content = line.split("\t", 2)
        text, mean = clean(content), float(rating)
        if abs(mean) < NEUTRAL or len(words(text)) < SHORTEST:
            continue
        document, several, _ = number.partition("_")
        group = f"{domain}-{document}" if several else None
        found.setdefault(tuple(words(text)), Snippet(text, "negative" if mean < 0 else "positive", domain, group))
    return list(found.values())


def in_drawn_order(found: Iterable[Snippet], seed: int = SEED) -> list[Snippet]:
    """The snippets in the order of their draws."""
    return sorted(found, key=lambda each: (draw(seed, each.domain, each.text), each.text))


def split(found: list[Snippet], train: int, test: int) -> tuple[list[Snippet], list[Snippet]]:
    """Two parts that share no text and no group: `train` and `test` of each label.

    Raises:
        ValueError: there are too few of a label.
    """
    first = balanced(found, lambda each: each.label, train) if train else []
    texts = {tuple(words(each.text)) for each in first}
    groups = {each.group for each in first if each.group}
    rest = [each for each in found if tuple(words(each.text)) not in texts and each.group not in groups]
    return first, balanced(rest, lambda each: each.label, test)


def make(sdist: Path, staging: Path) -> dict[str, object]:
    """Write `valence/train.jsonl` (films) and a test file for each domain."""
    read = tables(sdist, DOMAINS.values())
    counts: dict[str, object] = {}
    for domain, table in DOMAINS.items():
        found = in_drawn_order(snippets(read[table], domain))
        train, test = split(found, TRAIN if domain == LEARNT else 0, TEST)
        if train:
            counts["train"] = write(staging / FOLDER / "train.jsonl", (each.row() for each in train))
        counts[domain] = write(staging / FOLDER / f"{domain}.jsonl", (each.row() for each in test))
    return counts


BENCHMARK_TRAIN, BENCHMARK_TEST, VALIDATION, SHIFTED = 1600, 200, 100, 100  # of each label
BENCHMARK_FOLDER = "sentiment"


def make_benchmark(sdist: Path, staging: Path) -> dict[str, object]:
    """Write `sentiment/train.jsonl` and `sentiment/test.jsonl`: films, and by `condition` the other domains."""
    read = tables(sdist, DOMAINS.values())
    found = {domain: in_drawn_order(snippets(read[table], domain)) for domain, table in DOMAINS.items()}
    train, rest = split(found[LEARNT], BENCHMARK_TRAIN, BENCHMARK_TEST + VALIDATION)
    test = balanced(rest, lambda each: each.label, BENCHMARK_TEST)
    used = {each.text for each in test}
    parts = {"test": test, "validation": [each for each in rest if each.text not in used]}
    parts |= {domain: split(own, 0, SHIFTED)[1] for domain, own in found.items() if domain != LEARNT}
    measured = [{**each.row(), "condition": part} for part, own in parts.items() for each in own]
    folder = staging / BENCHMARK_FOLDER
    return {
        "train": write(folder / "train.jsonl", (each.row() for each in train)),
        "test": write(folder / "test.jsonl", measured),
    }


SENTIMENT = Asset(
    name="sentiment",
    package=REFERENCE.package,
    outputs=(BENCHMARK_FOLDER,),
    make=make_benchmark,
    edition=1,
    source="as valence",
    licence="the collection MIT, the texts their authors' copyright: use it here, do not commit or pass it on",
)
VALENCE = Asset(
    name="valence",
    package=REFERENCE.package,
    outputs=(FOLDER,),
    make=make,
    edition=2,
    source=(
        "film reviews (Pang & Lee 2004), Amazon reviews (Hu & Liu 2004), tweets and New York Times editorials,"
        " rated by 20 people each (Hutto & Gilbert, ICWSM 2014)"
    ),
    licence="the collection MIT, the texts their authors' copyright: use it here, do not commit or pass it on",
)
