"""`report.html` of one run: the verdict first, then the figures; one page that asks for nothing from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retain.records.items import Item
from retain.records.result import Result
from retain.report.cautions import cautions
from retain.report.claims import SYMBOLS, claims, subtitle
from retain.report.page.item_lists import run_lists
from retain.report.page.render import Drawing, render
from retain.report.page.sections import Section, measured_sections, origin_sections
from retain.report.page.svg import svg_text
from retain.report.plots.run_figure import run_figure
from retain.report.plots.style import panel_figure
from retain.report.tables.gone_tables import gone_verdict_table
from retain.report.tables.scores_table import Table
from retain.report.verdict_words import aa_line, headline, verdict_table


@dataclass(frozen=True)
class ShownSection:
    """A section with its drawings drawn."""

    title: str
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]


def run_page(result: Result, items: Sequence[Item]) -> str:
    """The page of one run."""
    caption = "The improvement in each suite with its 95% interval; right of 0 is better than the base."
    return render(
        "run.html.jinja",
        title=subtitle(result),
        headline=headline(result),
        outcome=result.judgement.overall if result.judgement else "",
        picture=Drawing(svg_text(run_figure(result), "main"), caption),
        verdicts=verdict_table(result),
        gone=gone_verdict_table(result),
        aa_line=aa_line(result),
        cautions=cautions(result),
        claims=[{"reading": c.reading, "sign": SYMBOLS[c.reading], "text": c.text} for c in claims(result)],
        sections=[_shown(section) for section in measured_sections(result)],
        item_lists=run_lists(result, items),
        origins=[_shown(section) for section in origin_sections(result)],
    )


def _shown(section: Section) -> ShownSection:
    name = section.png.removesuffix(".png")
    drawings = tuple(
        Drawing(svg_text(panel_figure(panel), f"{name}-{number}"), panel.caption)
        for number, panel in enumerate(section.panels)
    )
    return ShownSection(section.title, section.tables, drawings)
