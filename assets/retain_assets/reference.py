"""English that is not the task's, to measure language drift on: editorials and product reviews (`vaderSentiment`).

The corpus also has film reviews, but as single sentences torn from their reviews, which are no documents.
"""

from __future__ import annotations

import io
import tarfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.fetch import Package
from retain_assets.text import clean, draw, shuffled

SEED = 20
PRODUCTS = "amazonReviewSnippets"
WORDS_EACH = {"nytEditorialSnippets": 9_000, PRODUCTS: 4_500}  # about 18,000 tokens of SmolLM2 in all
SHORTEST, LONGEST = 60, 400  # words a document: enough to have a context, no document a large part of the whole
FILE, REVIEWS_FILE = "reference.txt", "reviews.txt"


def documents(table: str) -> list[str]:
    """Put the sentences of a ground-truth table (`document_sentence`, rating, text) together again."""
    found: dict[int, dict[int, str]] = defaultdict(dict)
    for line in table.splitlines():
        identity, _, text = line.split("\t", 2)
        document, sentence = map(int, identity.split("_"))
        found[document][sentence] = clean(text)
    return [" ".join(text for _, text in sorted(found[number].items()) if text) for number in sorted(found)]


def sample(texts: list[str], budget: int, seed: int = SEED) -> list[str]:
    """Different documents of fair length in drawn order, until they hold `budget` words."""
    chosen, total = [], 0
    for text in shuffled({text for text in texts if SHORTEST <= len(text.split()) <= LONGEST}, seed):
        if total >= budget:
            break
        chosen.append(text)
        total += len(text.split())
    return chosen


def make(sdist: Path, staging: Path) -> dict[str, object]:
    """Write `reference.txt`: one document a paragraph, the genres mixed."""
    found = tables(sdist, WORDS_EACH)
    parts = {domain: sample(documents(found[domain]), budget) for domain, budget in WORDS_EACH.items()}
    mixed = sorted((text for part in parts.values() for text in part), key=lambda text: draw(SEED, "mix_replay", text))
    (staging / FILE).write_text("\n\n".join(mixed) + "\n", encoding="utf-8")
    counts: dict[str, object] = {domain: len(part) for domain, part in parts.items()}
    return {**counts, "words": sum(len(text.split()) for text in mixed)}


def make_reviews(sdist: Path, staging: Path) -> dict[str, object]:
    """Write `reviews.txt`: product reviews alone, one document a paragraph."""
    found = sample(documents(tables(sdist, [PRODUCTS])[PRODUCTS]), WORDS_EACH[PRODUCTS])
    (staging / REVIEWS_FILE).write_text("\n\n".join(found) + "\n", encoding="utf-8")
    return {"documents": len(found), "words": sum(len(text.split()) for text in found)}


def tables(sdist: Path, domains: Iterable[str]) -> dict[str, str]:
    """The ground-truth tables of `domains`, from the archive inside the archive; nothing is unpacked to disk."""
    with tarfile.open(sdist) as outer:
        inner = _read(outer, "hutto_ICWSM_2014.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        return {domain: _read(archive, f"{domain}_GroundTruth.txt").decode("latin-1") for domain in domains}


def _read(archive: tarfile.TarFile, ending: str) -> bytes:
    member = next(member for member in archive.getmembers() if member.name.endswith(f"/{ending}"))
    content = archive.extractfile(member)
    if content is None:
        raise TypeError(f"{member.name} is no file")
    return content.read()


REFERENCE = Asset(
    name="reference",
    package=Package(
        "vaderSentiment",
        "3.3.2",
        "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        sdist=True,
    ),
    outputs=(FILE,),
    make=make,
    edition=1,
    source="New York Times editorials, Amazon product reviews (Hu & Liu 2004); gathered by Hutto & Gilbert, ICWSM 2014",
    licence="the collection MIT, the texts their authors' copyright: use it here, do not commit or pass it on",
)
REVIEWS = Asset(
    name="reviews",
    package=REFERENCE.package,
    outputs=(REVIEWS_FILE,),
    make=make_reviews,
    edition=1,
    source="Amazon product reviews (Hu & Liu 2004); gathered by Hutto & Gilbert, ICWSM 2014",
    licence=REFERENCE.licence,
)
