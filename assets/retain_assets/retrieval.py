"""What an encoder knew: find each query's match among all matches of the file (BBC headlines; WordNet's nouns)."""

from __future__ import annotations

from pathlib import Path

from retain_assets import wordnet
from retain_assets.asset import Asset
from retain_assets.headlines import HEADLINES
from retain_assets.rows import write
from retain_assets.text import words
from retain_assets.topics import Filed, filed, split

SEED = 26
PAIRS = 500
OPENING_WORDS = 25
EXAMPLE_WORDS = 6  # a shorter example says too little to be found


def headline_pair(each: Filed) -> dict[str, str]:
    """A headline, and the article's opening to be found by it."""
    return {"query": each.article.headline, "match": " ".join(each.article.body.split()[:OPENING_WORDS])}


def gloss_pair(noun: wordnet.Noun) -> dict[str, str] | None:
    """A word with its definition, and its longest example to be found by them; None where none is long and has it."""
    having = [example for example in noun.examples if noun.word in words(example)]
    match = max(having, key=lambda example: len(example.split()), default="")
    long = len(match.split()) >= EXAMPLE_WORDS
    return {"query": f"{noun.word}: {noun.definition}", "match": match} if long else None


def make_headlines(wheel: Path, staging: Path) -> dict[str, object]:
    """Write `headline-retrieval.jsonl`, of articles that the topics' task does not have."""
    articles = filed(wheel)
    train, test = split(articles)
    used = {*train, *test}
    rest = [each for each in articles if each not in used][:PAIRS]
    return {"pairs": write(staging / "headline-retrieval.jsonl", map(headline_pair, rest))}


def make_glosses(package: Path, staging: Path) -> dict[str, object]:
    """Write `gloss-retrieval.jsonl`."""
    pairs = [pair for noun in wordnet.nouns(package, SEED) if (pair := gloss_pair(noun))]
    return {"found": len(pairs), "pairs": write(staging / "gloss-retrieval.jsonl", pairs[:PAIRS])}


HEADLINE_RETRIEVAL = Asset(
    name="headline-retrieval",
    package=HEADLINES.package,
    outputs=("headline-retrieval.jsonl",),
    make=make_headlines,
    edition=1,
    source=HEADLINES.source,
    licence=HEADLINES.licence,
)
GLOSS_RETRIEVAL = Asset(
    name="gloss-retrieval",
    package=wordnet.PACKAGE,
    outputs=("gloss-retrieval.jsonl",),
    make=make_glosses,
    edition=1,
    source=wordnet.SOURCE,
    licence=wordnet.LICENCE,
)
