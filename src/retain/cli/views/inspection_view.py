"""`retain inspect` in the terminal: a line a kind of layer, and what speaks against trusting it."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table as Shown
from rich.text import Text

from retain.cli.views.run_view import WIDTH
from retain.compare.inspection_rows import UpdateView, View
from retain.compare.item_examples import readable
from retain.report.page.inspection import PAGE, headline, title
from retain.report.page.update_page import update_headline, update_title
from retain.report.tables.inspection_tables import layer_kind_table, without
from retain.report.tables.zone_tables import zone_kinds

MOST_KINDS = 12
LONGEST_CELL = 22


def inspection_table(view: View) -> RenderableType:
    """Title, a sentence or two, a line a kind of layer, and what speaks against trusting it."""
    table = without(layer_kind_table(view), "Mean square", "Mean squared output")
    shown = Shown(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for place, name in enumerate(table.head):
        words = place == 0
        shown.add_column(
            _text(name),
            overflow="fold",
            justify="left" if words else "right",
            no_wrap=not words,
            min_width=14 if words else None,
        )
    kinds = -1
    for row in table.rows:
        kinds += bool(row[0])
        if kinds < MOST_KINDS:
            name, *cells = (" ".join(cell.split()) for cell in row)
            shown.add_row(_text(name), *(_text(cell, longest=LONGEST_CELL) for cell in cells))
    parts: list[RenderableType] = [_text(title(view), "bold"), *(_text(sentence) for sentence in headline(view)), shown]
    if kinds >= MOST_KINDS:
        parts.append(_text(f"{kinds + 1 - MOST_KINDS} more kinds of layer are in {PAGE}."))
    parts.append(_text(table.note, "dim"))
    parts += [_text(f"note: {finding}", "yellow") for finding in view.findings]
    return Constrain(Group(*parts), WIDTH)


def _text(value: str, style: str = "", longest: int = 2000) -> Text:
    return Text(readable(value, longest) or "", style=style)


def update_table(view: UpdateView) -> RenderableType:
    """Title, a sentence, and a line a kind of layer."""
    table = zone_kinds(view)
    shown = Shown(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for place, name in enumerate(table.head):
        shown.add_column(_text(name), overflow="fold", justify="left" if place == 0 else "right")
    for row in table.rows[:MOST_KINDS]:
        shown.add_row(*(_text(cell, longest=LONGEST_CELL) for cell in row))
    parts: list[RenderableType] = [_text(update_title(view), "bold"), *map(_text, update_headline(view)), shown]
    if len(table.rows) > MOST_KINDS:
        parts.append(_text(f"{len(table.rows) - MOST_KINDS} more kinds of layer are in {PAGE}."))
    return Constrain(Group(*parts, _text(table.note, "dim")), WIDTH)
