"""The report of `retain scale`: a plot of the scaled update, and its tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retain.records.budget_record import BudgetRecord, Scaling
from retain.records.files import write_text
from retain.records.manifest import remove
from retain.report.page.markdown import escape, markdown_table
from retain.report.plots.scaling_plot import scaling_panels
from retain.report.plots.style import save_png, sheet_figure
from retain.report.tables.budget import kept_sentence, scaling_tables

COLUMNS = 2


def write_scaling(directory: Path, scaling: Scaling, budget: Sequence[BudgetRecord]) -> list[Path]:
    """Write `scaling.md` and `scaling.png`; no image where nothing was measured.

    Returns:
        The paths of what was written.
    """
    panels = scaling_panels(scaling, budget)
    text, plot = directory / "scaling.md", directory / "scaling.png"
    parts = ["# Scaling the update", *([escape(kept_sentence(budget, scaling))] if budget else [])]
    parts += [f"![what is learned and lost along the scaling path]({plot.name})"] if panels else []
    parts += [markdown_table(table) for table in scaling_tables(budget, scaling)]
    write_text(text, "\n\n".join(parts) + "\n")
    if not panels:
        remove(plot)
        return [text]
    save_png(sheet_figure(panels, COLUMNS), plot)
    return [text, plot]
