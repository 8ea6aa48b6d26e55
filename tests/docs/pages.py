"""Read the documentation's Markdown as the tests need it: its code blocks, links and anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
MARKER = re.compile(r"<!--\s*not run:\s*(?P<reason>.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its text, and why it is not run (empty where it is)."""

    page: str
    line: int
    language: str
    text: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def tokens(path: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a page in order; `<!-- not run: reason -->` right before one says why it is not run."""
    page = path.relative_to(ROOT).as_posix()
    found, reason = [], ""
    for token in tokens(path):
        if token.type == "fence":
            language = token.info.split()[0] if token.info.split() else ""
            found.append(Block(page, token.map[0] + 1, language, token.content, reason))
        marked = MARKER.search(token.content) if token.type == "html_block" else None
        reason = marked["reason"] if marked else ""
    return found


def commands(block: Block) -> list[str]:
    """The commands of a shell block: continued lines joined, comments cut off."""
    text = block.text.replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#\s.*", "", line).strip() for line in text.splitlines())
    return [" ".join(line.split()) for line in lines if line]


def links(path: Path) -> Iterator[str]:
    """What a page links to: targets of links and pictures."""
    for token in tokens(path):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target:
                yield str(target)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found = set()
    read = tokens(path)
    for before, token in pairwise(read):
        if before.type == "heading_open":
            words = "".join(child.content for child in token.children or () if child.type in {"text", "code_inline"})
            found.add(re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-"))
    return found
