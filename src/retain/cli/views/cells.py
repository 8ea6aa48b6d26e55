"""Cells and tables of the terminal: cleaned text, coloured by the sign that it begins with."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from retain.compare.item_examples import readable

STYLES = {"▲": "green", "✓": "green", "▼": "red", "↔": "red", "?": "yellow", "·": "dim"}
"""The style of a cell by its first character."""


def text(value: str, style: str = "") -> Text:
    """A cell; its sign gives the style where none is said."""
    return Text(readable(value, 2000) or "", style=style or STYLES.get(value[:1], ""))


def table(title: str, head: Sequence[str]) -> Table:
    """An empty table: the first column folds, the others stand to the right."""
    made = Table(title=text(title, "bold"), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1))
    for position, name in enumerate(head):
        first = position == 0
        made.add_column(text(name), overflow="fold", justify="left" if first else "right", no_wrap=not first)
    return made
