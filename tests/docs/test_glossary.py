"""The glossary has every term that heads a column of a report's tables, read from the report's own source."""

from __future__ import annotations

import ast
import re

from pages import ROOT, tokens

PLAIN = {
    "at", "base → tuned", "change vs base", "layer", "layers", "licence", "lost or changed on", "measure",
    "measured on", "method", "outcome", "run", "runs", "source", "test", "text", "tokens", "trained", "value",
    "version", "what", "what it is", "what it says", "why",
}  # fmt: skip
"""Plain words that head a column and need no explanation."""


def heads() -> set[str]:
    """Each text in a tuple that is called `head`, or that is the second argument of `Table`."""
    found = set()
    for path in (ROOT / "src" / "retain" / "report").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                given = node.value if any(getattr(target, "id", "") == "head" for target in targets) else None
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Table" and len(node.args) > 1:
                given = node.args[1]
            else:
                continue
            if isinstance(given, ast.Tuple | ast.List):
                found |= {part.value for part in ast.walk(given) if isinstance(part, ast.Constant)}
    return {term for term in map(plain, filter(lambda text: isinstance(text, str), found)) if term}


def plain(text: str) -> str:
    """A column's head without its interval, its sign and its unit."""
    return re.sub(r"\s*\[.*?\]|[▲▼✓]|α=$|\(.*?\)", "", text).split("\n")[0].strip(" ,").lower()


def terms() -> set[str]:
    """The glossary's terms: the first cell of each row, parts between commas, without brackets."""
    read = tokens(ROOT / "docs" / "glossary.md")
    cells = [read[i + 2].content for i, token in enumerate(read) if token.type == "tr_open"]
    found = set()
    for cell in cells:
        text = re.sub(r"\(.*?\)|`", "", cell)
        found |= {part.strip().lower() for pattern in ("[,;]", ";", "$") for part in re.split(pattern, text)}
    return found


def test_every_column_of_a_report_is_explained():
    assert len(heads()) > 50, "the heads are not found where they were"
    assert sorted(heads() - terms() - PLAIN) == []
