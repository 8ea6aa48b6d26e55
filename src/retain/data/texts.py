"""Texts and files as contamination checks compare them: folded, hashed, cut into paragraphs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import regex

SHORTEST_PARAGRAPH = 40
"""Paragraphs with fewer characters are not compared: headings recur by chance."""


_BLANK = regex.compile(r"[\s\p{Z}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]*")


def is_blank(text: str) -> bool:
    """True where a text has no visible character: it is empty, or of spaces and zero-width characters of any kind."""
    return _BLANK.fullmatch(text) is not None


def folded(text: str) -> str:
    """The text with case folded and white space collapsed."""
    return " ".join(text.casefold().split())


def words_of(texts: Sequence[str]) -> list[list[str]]:
    """The words of each of some texts, case folded.

    Of three of which the second is the first and the last with a space between, as a prompt, an example and a
    completion are, the second is not gone through: of a million rows that is most of the work.
    """
    if len(texts) == 3:
        first, whole, last = texts
        if len(whole) == len(first) + 1 + len(last) and whole == f"{first} {last}":
            begun, ended = first.casefold().split(), last.casefold().split()
            return [begun, begun + ended, ended]
    return [text.casefold().split() for text in texts]


def fingerprint(text: str) -> str:
    """SHA-256 of the folded text: equal for texts that a reader calls the same."""
    return hashlib.sha256(folded(text).encode(errors="surrogatepass")).hexdigest()


def paragraphs(text: str) -> list[str]:
    """The lines of a text that are long enough to be compared."""
    if len(text) < SHORTEST_PARAGRAPH:
        return []
    return [part for part in text.split("\n") if len(part.strip()) >= SHORTEST_PARAGRAPH]


def content_hash(texts: Iterable[str]) -> str:
    """SHA-256 of a sequence of texts, in order and exactly: identifies the content of a data set in the provenance."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode(errors="surrogatepass")).digest())
    return digest.hexdigest()


def file_hash(path: str) -> str:
    """SHA-256 of a file's bytes, read once while the file stays as it is; the path itself where there is no file."""
    try:
        status = Path(path).stat()
        return _file_digest(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return path


@lru_cache(maxsize=1 << 17)
def _file_digest(path: str, size: int, changed: int) -> str:
    del size, changed  # they tell one state of a file from another
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def quoted(text: str, length: int = 60) -> str:
    """The beginning of a text, in quotes, on one line."""
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= length else flat[: length - 1] + "…")
