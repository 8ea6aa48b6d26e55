"""`report.md`: the verdict, the image, words, figures, examples, then how it was made."""

from __future__ import annotations

import re
from collections.abc import Sequence

from retain.compare.item_examples import (
    changed_items,
    clean,
    readable,
    showable,
    side_scores,
    task_items,
    withheld_note,
)
from retain.records.items import Item
from retain.records.metric import Metric
from retain.records.result import Result
from retain.report.cautions import cautions
from retain.report.claims import claims, subtitle
from retain.report.comparison import Comparison
from retain.report.page.sections import Section, measured_sections, origin_sections
from retain.report.tables.gone_tables import gone_verdict_table
from retain.report.tables.methods_as_a_whole import EXPLAINED, whole_tables
from retain.report.tables.scores_table import Table
from retain.report.verdict_words import aa_line, headline, verdict_table

EXAMPLES = 5
LONGEST = 400

_SPECIAL = re.compile(r"([\\`*_\[\]#|$~!])")
_INTERVAL = re.compile(r"\\\[((?:[+−]?[\d.]+, [+−]?[\d.]+|95%|both| ))\\\](?![\[(:\\])")


def escape(text: str) -> str:
    """Text as it stands, whatever it holds: no Markdown, no HTML, one line."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    marked = _INTERVAL.sub(r"[\1]", _SPECIAL.sub(r"\\\1", text))
    return " ↵ ".join(part.strip() for part in marked.splitlines())


def markdown_table(table: Table) -> str:
    """A table in Markdown, its caption above and its note beneath."""
    lines = [
        f"**{escape(table.caption)}**",
        "",
        _row(table.head),
        "|" + " --- |" * len(table.head),
        *(_row(row) for row in table.rows),
    ]
    return "\n".join([*lines, "", escape(table.note)] if table.note else lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape(readable(cell, 2000) or "") for cell in cells) + " |"


def run_markdown(result: Result, items: Sequence[Item], plot: str | None = "plot.png") -> str:
    """The report of one run."""
    verdicts, gone = verdict_table(result), gone_verdict_table(result)
    parts = [
        f"# {escape(subtitle(result))}",
        f"**{escape(headline(result))}**",
        f"![Change in each suite, with its 95% interval]({plot})" if plot else "",
        markdown_table(verdicts) if verdicts else "",
        markdown_table(gone) if gone else "",
        escape(aa_line(result)),
        "\n\n".join(f"*{escape(caution)}*" for caution in cautions(result)),
        "## In words",
        "\n".join(f"- {escape(claim.text)}" for claim in claims(result)),
        *(part for section in measured_sections(result) for part in _section(section)),
        *_examples(result, items),
        *(part for section in origin_sections(result) for part in _section(section)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: Section) -> list[str]:
    caption = " ".join(dict.fromkeys(panel.caption for panel in section.panels))
    drawn = [f"![{escape(section.title)}]({section.png})", escape(caption)] if section.panels else []
    return [f"## {escape(section.title)}", *drawn, *(markdown_table(table) for table in section.tables)]


def _examples(result: Result, items: Sequence[Item]) -> list[str]:
    if not items:
        return []
    parts = ["## Examples", "Every item, with both answers and both scores, is in `items.jsonl`."]
    for score in result.keep:
        changed = changed_items(items, score)
        words = ("became worse", "became better") if changed.graded else ("lost", "gained")
        for word, of_kind in zip(words, (changed.lost, changed.gained), strict=True):
            if of_kind:
                with_text = showable(of_kind)
                shown = f", the first {EXAMPLES} shown" if len(with_text) > EXAMPLES else ""
                head = f"### {escape(score.name)} ({escape(score.metric.title)}): "
                parts.append(f"{head}{len(of_kind)} {word}{shown}")
                parts += [withheld_note(of_kind), _item_list(with_text[:EXAMPLES], score.metric)]
    task = task_items(items, EXAMPLES)
    if task:
        parts += ["### The task: the first items, not chosen", _item_list(task, None)]
    return parts


def _item_list(items: Sequence[Item], metric: Metric | None) -> str:
    return "\n".join(_item(position, item, metric) for position, item in enumerate(items, start=1))


def _item(position: int, item: Item, metric: Metric | None) -> str:
    lines = [f"{position}. {_shown(item.question)}"]
    if item.expected is not None:
        lines.append(f"   - right answer: {_shown(item.expected)}")
    for name, side in (("base", item.base), ("tuned", item.tuned)):
        answer = "no answer is read for this metric" if side.answer is None else _shown(side.answer)
        scores = escape(side_scores(side, metric))
        lines.append(f"   - {name}: {answer}" + (f" ({scores})" if scores else ""))
    return "\n".join(lines)


def _shown(text: str) -> str:
    return escape(readable(text, LONGEST) or "") or "(empty)"


def comparison_markdown(comparison: Comparison, plot: str | None = "pareto.png") -> str:
    """The report of a comparison."""
    links = [f"- [{escape(run.name)}]({run.link})" for run in comparison.details if run.link]
    parts = [
        f"# {escape(comparison.title)}",
        f"**{escape(comparison.headline)}**",
        "\n".join(f"- {escape(sentence)}" for sentence in comparison.sentences),
        "\n\n".join(f"*{escape(caution)}*" for caution in comparison.cautions),
        f"![What each setting gained on the task against what it kept]({plot})" if plot else "",
        markdown_table(comparison.verdicts) if comparison.verdicts else "",
        markdown_table(comparison.gone) if comparison.gone else "",
        markdown_table(comparison.budgets) if comparison.budgets else "",
        *_wholes(comparison),
        "## Figures",
        *(markdown_table(table) for table in comparison.tables),
        "\n".join(["## Each run's own report", "", *links]) if links else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _wholes(comparison: Comparison) -> list[str]:
    tables = [markdown_table(table) for table in whole_tables(comparison.wholes)]
    return ["## Methods as a whole", *tables, escape(EXPLAINED)] if tables else []
