"""What `retain dial` leaves to be read: a picture of the dial, and its tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retain.records.budget_record import BudgetRecord, Dial
from retain.records.files import write_text
from retain.report.page.markdown import escape, markdown_table
from retain.report.plots.scaling_plot import dial_panels
from retain.report.plots.style import save_png, sheet_figure
from retain.report.tables.budget import dial_tables, kept_sentence

COLUMNS = 2


def write_dial(directory: Path, dial: Dial, budget: Sequence[BudgetRecord]) -> list[Path]:
    """Write `dial.md` and `dial.png`; no picture where nothing was measured.

    Returns:
        The paths of what was written.
    """
    panels = dial_panels(dial, budget)
    text, plot = directory / "dial.md", directory / "dial.png"
    parts = ["# The dial", *([escape(kept_sentence(budget, dial))] if budget else [])]
    parts += [f"![what is learned and lost along the dial]({plot.name})"] if panels else []
    parts += [markdown_table(table) for table in dial_tables(budget, dial)]
    write_text(text, "\n\n".join(parts) + "\n")
    if not panels:
        return [text]
    save_png(sheet_figure(panels, COLUMNS), plot)
    return [text, plot]
