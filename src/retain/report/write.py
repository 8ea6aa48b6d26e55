"""The files that people read, written beside the records; each is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from retain.compare.aggregate import NamedResult
from retain.compare.lost_across import LostItem, lost_across
from retain.compare.method_labels import unique
from retain.compare.pick import keep_keys, told_apart
from retain.records.files import write_text
from retain.records.items import Item, read_items
from retain.records.manifest import remove
from retain.records.result import Result
from retain.report.comparison import Comparison, compare_runs
from retain.report.page.comparison_page import comparison_page
from retain.report.page.markdown import comparison_markdown, run_markdown
from retain.report.page.model_card import model_card
from retain.report.page.run_page import run_page
from retain.report.page.sections import Section, measured_sections
from retain.report.page.summary_files import summary_csv, summary_json
from retain.report.plots.comparison_plot import comparison_figure
from retain.report.plots.run_figure import run_figure
from retain.report.plots.style import save_png, sheet_figure

RUN_FILES = (
    "result.json", "items.jsonl", "report.html", "report.md", "model_card.md", "plot.png",
    "scaling.png", "breakdown.png", "calibration.png", "drift.png", "curve.png",
)  # fmt: skip
"""The record of one run and what is drawn and told of it: files that are written, or removed where outdated."""

REPORT_FILES = RUN_FILES[2:]
"""Of these the report, which is made from the record."""

COMPARISON_FILES = ("report.html", "report.md", "pareto.png", "summary.json", "summary.csv")

SECTION_PLOTS = ("scaling.png", "breakdown.png", "calibration.png", "drift.png", "curve.png")

_HOLDING = {
    "run.json": "a run of retain tune",
    "result.json": "the record of another run",
    "summary.json": "a comparison",
    "scaling.json": "what retain scale measured",
}
"""What a folder holds, by the name of a file in it."""


def holding_problem(output: str | Path, names: Iterable[str]) -> list[str]:
    """The reason why a verb cannot write where others have written: its files would take the place of theirs.

    Args:
        output: the folder.
        names: of the files that tell of what must not lie there, some of `run.json`, `result.json`, `summary.json` and
            `scaling.json`.
    """
    found = next((_HOLDING[name] for name in names if (Path(output) / name).exists()), None)
    return [f"output: {output} holds {found}, whose report would be replaced; give another."] if found else []


def write_run_report(directory: Path, result: Result, items: Iterable[Item]) -> list[Path]:
    """Write `report.html`, `report.md`, `model_card.md` and the plots of one run.

    `plot.png` is always there. `scaling.png`, `breakdown.png`, `calibration.png`, `drift.png` and `curve.png` are there
    only where the record has what they show; those that an earlier report left are removed. In a folder with a log
    (`retain.records.manifest`) only what retain wrote is overwritten or removed.

    Args:
        directory: where `result.json` and `items.jsonl` lie, or will.
        result: the run's record.
        items: its items, in any number.

    Returns:
        The paths of what was written.
    """
    all_items = tuple(items)
    page, text, card, plot = (directory / name for name in ("report.html", "report.md", "model_card.md", "plot.png"))
    save_png(run_figure(result), plot)
    drawn = _draw_sections(directory, measured_sections(result))
    write_text(text, run_markdown(result, all_items, plot.name))
    write_text(card, model_card(result))
    write_text(page, run_page(result, all_items))
    return [page, text, card, plot, *drawn]


def _draw_sections(directory: Path, sections: Sequence[Section]) -> list[Path]:
    written = []
    for section in sections:
        if section.panels:
            written.append(directory / section.png)
            save_png(sheet_figure(section.panels, section.columns), written[-1])
    for name in SECTION_PLOTS:
        if directory / name not in written:
            remove(directory / name)
    return written


def write_comparison(directory: Path, results: Mapping[Path, Result]) -> list[Path]:
    """Write `report.html`, `report.md`, `pareto.png`, `summary.json` and `summary.csv` of a comparison.

    Args:
        directory: where to.
        results: each run's record by the run's folder; its `items.jsonl` is read for the items lost, its `report.html`
            is linked to, where they exist.

    Returns:
        The paths of what was written.
    """
    folders = list(results)
    names = unique([folder.name for folder in folders])
    runs = [NamedResult(name, result) for name, result in zip(names, results.values(), strict=True)]
    comparison = compare_runs(runs, [_link(directory, folder) for folder in folders])
    page, text, plot = directory / "report.html", directory / "report.md", directory / "pareto.png"
    data, rows = directory / "summary.json", directory / "summary.csv"
    save_png(comparison_figure(runs), plot)
    write_text(data, summary_json(runs, comparison.groups, comparison.cautions, comparison.wholes))
    write_text(rows, summary_csv(comparison.groups))
    write_text(text, comparison_markdown(comparison, plot.name))
    lost = _lost(comparison, dict(zip(names, folders, strict=True)))
    write_text(page, comparison_page(comparison, lost))
    return [page, text, plot, data, rows]


def _link(directory: Path, folder: Path) -> str:
    """The way from the comparison's page to a run's own; empty where there is none."""
    report = folder / "report.html"
    if not report.exists():
        return ""
    try:
        return quote(Path(os.path.relpath(report.resolve(), directory.resolve())).as_posix())
    except ValueError:  # on another drive
        return ""


def _lost(comparison: Comparison, folders: Mapping[str, Path]) -> list[tuple[str, list[LostItem]]]:
    items = {
        name: [item for item in read_items(folder / "items.jsonl") if item.part == "keep"]
        for name, folder in folders.items()
        if (folder / "items.jsonl").exists()
    }
    results = [run.result for group in comparison.groups for run in group.runs]
    keys = keep_keys(results)
    return [(told_apart(key, keys), lost_across(comparison.groups, items, key)) for key in keys]
