"""Small pure functions on texts: plain characters, words, runs of words, a fixed lottery."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable

QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "\u0091": "'", "\u0092": "'", "\u0096": "-"})


def clean(text: str) -> str:
    """One line of plain text: entities resolved, '' and `` as ", typographic quotes straight, single spaces."""
    text = html.unescape(html.unescape(text)).translate(QUOTES)  # some were escaped twice
    text = re.sub(r"''|``", '"', text)
    return " ".join(text.split())


def words(text: str) -> list[str]:
    """The words and numbers of `text` in lower case: what is compared when texts are compared."""
    return re.findall(r"[^\W_]+", text.casefold())


def runs(text: str, length: int = 5) -> set[tuple[str, ...]]:
    """Every run of `length` consecutive words."""
    found = words(text)
    return {tuple(found[start : start + length]) for start in range(len(found) - length + 1)}


def draw(seed: int, *parts: str) -> int:
    """A number that looks random and is the same on every machine and Python: for splits, orders and choices."""
    content = "\x1f".join((str(seed), *parts)).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def shuffled(texts: Iterable[str], seed: int, *parts: str) -> list[str]:
    """`texts` in the order of their draws: adding or removing one leaves the others' order as it was."""
    return sorted(texts, key=lambda text: (draw(seed, *parts, text), text))
