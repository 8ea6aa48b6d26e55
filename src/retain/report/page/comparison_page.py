"""`report.html` of a comparison: the trade-off first, every point a link to its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retain.compare.aggregate import Group, NamedResult, point_names, setting_point
from retain.compare.item_examples import readable
from retain.compare.lost_across import LostItem
from retain.compare.pick import pick_task, task_keys
from retain.records import numbers
from retain.report.comparison import Comparison
from retain.report.page.item_lists import lost_list
from retain.report.page.render import Drawing, render
from retain.report.page.svg import PAGE_COLOURS, Link, svg_text
from retain.report.plots.comparison_plot import bars_words, comparison_measures, measure_figure, method_styles
from retain.report.plots.panel import Measure
from retain.report.tables.methods_as_a_whole import EXPLAINED, whole_tables

_SIGNS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖", "*": "★"}
"""The letters that look like matplotlib's markers."""


def comparison_page(comparison: Comparison, lost: Sequence[tuple[str, Sequence[LostItem]]]) -> str:
    """The page of a comparison; `lost` has, for each suite, the items that most runs lost."""
    groups = comparison.groups
    links = {detail.name: detail.link for detail in comparison.details}
    legend = [
        {"colour": PAGE_COLOURS.get(colour, colour), "sign": _SIGNS[marker], "text": readable(method, 80)}
        for method, (colour, marker) in method_styles(groups).items()
    ]
    drawings = [
        Drawing(
            svg_text(measure_figure(groups, measure), f"panel-{number}", point_links(groups, measure, links)),
            f"{measure.title}. What each setting gained on the task against what it kept; right and up is better.",
        )
        for number, measure in enumerate(comparison_measures(groups))
    ]
    return render(
        "comparison.html.jinja",
        title=comparison.title,
        headline=comparison.headline,
        outcome="",
        drawings=drawings,
        legend=legend if drawings else [],
        bars=f"{bars_words(groups)} Dashed: not beaten on both counts."
        if drawings
        else "There is no trade-off to draw.",
        verdicts=comparison.verdicts,
        gone=comparison.gone,
        budgets=comparison.budgets,
        cautions=comparison.cautions,
        sentences=comparison.sentences,
        wholes=whole_tables(comparison.wholes),
        explained=EXPLAINED,
        tables=comparison.tables,
        item_lists=[lost_list(suite, items) for suite, items in lost if items],
        details=[detail for detail in comparison.details if not detail.link],
    )


def point_links(groups: Sequence[Group], measure: Measure, links: Mapping[str, str]) -> dict[str, Link]:
    """For each point of a panel where it leads: a run's to its own report or its row, a setting's to its first row."""
    names = point_names(groups)
    found = {}
    for group in groups:
        for run in group.runs:
            found[names[run.name]] = Link(links.get(run.name) or f"#{names[run.name]}", _run_title(group, run, measure))
        if len(group.runs) > 1:
            title = f"{group.title}: mean of {len(group.runs)} runs"
            found[setting_point(group, names)] = Link(f"#{names[group.runs[0].name]}", readable(title, 200) or "")
    return found


def _run_title(group: Group, run: NamedResult, measure: Measure) -> str:
    """The title of a run's point: its setting, its gain, its losses."""
    keys = task_keys([run.result])
    gained = pick_task(keys[0])(run.result) if keys else None
    kept = measure.pick(run.result)
    parts = [run.name if run.name == group.title else f"{run.name} ({group.title})"]
    if gained is not None:
        parts.append(f"{keys[0][0]} {numbers.signed(gained[0], keys[0][1].unit)}")
    if kept is not None:
        write = numbers.signed if measure.suite else numbers.plain
        parts.append(f"{measure.suite[0] if measure.suite else 'KL'} {write(kept[0], measure.unit)}")
    if run.result.judgement is not None:
        parts.append(run.result.judgement.overall)
    return readable(", ".join(parts), 300) or ""
