"""The report of `retain inspect` on an adapter's update: `inspect.md`."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from retain.compare.inspection_rows import UpdateView
from retain.records.files import write_text
from retain.records.lock import output_folder
from retain.report.page.inspection import PAGE
from retain.report.page.markdown import escape, markdown_table
from retain.report.tables.inspection_tables import share
from retain.report.tables.zone_tables import zone_kinds, zone_rows


def write_update(directory: Path, view: UpdateView) -> list[Path]:
    """Write `inspect.md`, whole or not at all; its path.

    Raises:
        InputError: a file of this name is there, which retain did not write.
    """
    page = directory / PAGE
    with output_folder(directory, (PAGE,)):
        write_text(page, update_markdown(view))
    return [page]


def update_title(view: UpdateView) -> str:
    """The title: what changed which base."""
    return f"Where the change of {view.source} ({view.method}) lies in {view.model}"


def update_headline(view: UpdateView) -> list[str]:
    """A sentence on zone I, and what was left out."""
    found, random = (median(getattr(row, name) for row in view.rows) for name in ("leading", "random"))
    told = (
        f"In the median of {len(view.rows)} layers {share(found)} of the change lies inside the leading output and "
        f"input directions of the base's weights (zone I); a change without any direction would have {share(random)} "
        "there."
    )
    return [told, *view.findings]


def update_markdown(view: UpdateView) -> str:
    """The page: a sentence, each kind of layer, every layer."""
    parts = [
        f"# {escape(update_title(view))}",
        "\n".join(f"- {escape(sentence)}" for sentence in update_headline(view)),
        markdown_table(zone_kinds(view)),
        markdown_table(zone_rows(view)),
    ]
    return "\n\n".join(parts) + "\n"
