"""`retain advise` in the terminal: the candidates as a table, then the advice."""

from __future__ import annotations

from textwrap import indent

from rich import box
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table as Shown
from rich.text import Text

from retain.cli.views.run_view import WIDTH
from retain.records.sweep_record import SweepRecord
from retain.report.tables.advice import advice_fields, advice_sentences, advice_table


def advice_view(sweep: SweepRecord) -> RenderableType:
    """Table and sentences for a terminal of 100 columns."""
    table = advice_table(sweep)
    shown = Shown(
        title=Text(table.caption, "bold"), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1)
    )
    seen = [place for place, name in enumerate(table.head) if not name.startswith("Right α=0")]
    for place in seen:
        shown.add_column(Text(table.head[place]), justify="right" if place else "left", no_wrap=place > 0)
    for row in table.rows:
        shown.add_row(*(Text(row[place], "green" if row[place].startswith("◀") else "") for place in seen))
    first, *others = [Text(sentence) for sentence in advice_sentences(sweep)]
    fields = Text("\n" + indent(advice_fields(sweep), "    ") + "\n", "green")  # without spaces behind, to be pasted
    shows = [Text("\nWhat the benchmark shows", "bold"), Text(" ".join(sweep.benchmark) + "\n")]
    told = [first, fields, *others, *(shows if sweep.benchmark else [])]
    return Constrain(Group(shown, Text(table.note, "dim"), Text(), *told), WIDTH)
