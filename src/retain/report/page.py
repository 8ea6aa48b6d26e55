"""`report.html`: one page that holds everything it shows and asks for nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from retain.report import numbers
from retain.report.comparison import Comparison
from retain.report.examples import changed_items, clean, readable, side_scores, task_items
from retain.report.lost_across import LostItem
from retain.report.tables import Table, provenance_table, run_tables
from retain.report.words import SYMBOLS, cautions, claims, headline, subtitle
from retain.results import Item, Result, Side

MOST_LOST, MOST_GAINED, MOST_TASK = 50, 20, 10
LONGEST = 600

_FIGURE = re.compile(r"[\d+−—\[]")


@dataclass(frozen=True)
class ShownSide:
    """What one model said to an item."""

    name: str
    answer: str | None
    scores: str


@dataclass(frozen=True)
class ShownItem:
    """One item as the page shows it."""

    question: str
    expected: str | None
    sides: tuple[ShownSide, ...]


@dataclass(frozen=True)
class ItemList:
    """Items under one heading; `more` counts those that are not shown."""

    title: str
    items: tuple[ShownItem, ...]
    more: int
    open: bool = False


def run_page(result: Result, items: Sequence[Item], svg: str) -> str:
    """The page of one run."""
    return _render(
        title=subtitle(result),
        headline=headline(result),
        claims=[{"reading": c.reading, "sign": SYMBOLS[c.reading], "text": c.text} for c in claims(result)],
        cautions=cautions(result),
        svg=svg,
        plot_caption="The improvement in each suite with its 95% interval; right of 0 is better than the base.",
        tables=run_tables(result),
        item_lists=_run_lists(result, items),
        items_note="Every item, with both answers and both scores, is in items.jsonl beside this page.",
        details=(),
        provenance=provenance_table(result),
    )


def comparison_page(comparison: Comparison, lost: Sequence[tuple[str, Sequence[LostItem]]], svg: str) -> str:
    """The page of a comparison; `lost` has, for each suite, the items that most runs lost."""
    return _render(
        title=comparison.title,
        headline=comparison.headline,
        claims=[{"reading": "", "sign": "", "text": sentence} for sentence in comparison.sentences],
        cautions=comparison.cautions,
        svg=svg,
        plot_caption="What each setting gained on the task against what it kept. Right and up is better.",
        tables=comparison.tables,
        item_lists=[_lost_list(suite, items) for suite, items in lost if items],
        items_note="Items that the base has right and most runs lost. Every item is in each run's items.jsonl.",
        details=comparison.details,
        provenance=None,
    )


def _run_lists(result: Result, items: Sequence[Item]) -> list[ItemList]:
    lists = []
    for score in result.keep:
        changed = changed_items(items, score)
        words = ("became worse", "became better") if changed.graded else ("lost", "gained")
        kinds = ((words[0], changed.lost, MOST_LOST), (words[1], changed.gained, MOST_GAINED))
        for word, of_kind, most in kinds:
            if of_kind:
                title = f"{score.name} ({numbers.metric_words(score.metric)}): {len(of_kind)} {word}"
                lists.append(_item_list(title, of_kind, most, score.metric))
    lists.sort(key=lambda found: " gained" in found.title or "became better" in found.title)
    lists = [ItemList(found.title, found.items, found.more, open=place == 0) for place, found in enumerate(lists)]
    task = [item for item in items if item.part == "task"]
    if task:
        shown = [_shown(item, None) for item in task_items(items, MOST_TASK)]
        lists.append(ItemList("The task: the first items, not chosen", tuple(shown), len(task) - len(shown)))
    return lists


def _item_list(title: str, items: Sequence[Item], most: int, metric: str) -> ItemList:
    return ItemList(title, tuple(_shown(item, metric) for item in items[:most]), max(0, len(items) - most))


def _shown(item: Item, metric: str | None) -> ShownItem:
    sides = (_side("base", item.base, metric), _side("tuned", item.tuned, metric))
    return ShownItem(readable(item.question, LONGEST) or "(empty)", readable(item.expected, LONGEST), sides)


def _side(name: str, side: Side, metric: str | None) -> ShownSide:
    return ShownSide(name, readable(side.answer, LONGEST), side_scores(side, metric))


def _lost_list(suite: str, items: Sequence[LostItem]) -> ItemList:
    shown = []
    for lost in items[:MOST_LOST]:
        answers = [ShownSide(name, readable(answer, LONGEST), "") for name, answer in lost.answers]
        sides = (ShownSide("base", readable(lost.item.base.answer, LONGEST), "right"), *answers)
        question = readable(lost.item.question, LONGEST) or "(empty)"
        shown.append(ShownItem(question, readable(lost.item.expected, LONGEST), sides))
    return ItemList(f"{suite}: {len(items)} items lost by some run", tuple(shown), max(0, len(items) - MOST_LOST))


def _tidy(value: object) -> object:
    """Whatever the page prints, but the drawing and what macros have made already."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _slug(reading: str) -> str:
    return reading.replace(" ", "-")


def _reading_class(cell: str) -> str:
    return next((_slug(name) for name, sign in SYMBOLS.items() if cell == f"{sign} {name}"), "plain")


def _column_kinds(table: Table) -> list[str]:
    """Columns of figures are set to the right and kept on one line, columns with words to the left."""
    kinds = ["words"]
    for column in list(zip(*table.rows, strict=True))[1:]:
        figures = all((_FIGURE.match(cell) or _reading_class(cell) != "plain") and len(cell) < 40 for cell in column)
        kinds.append("number" if figures else "words")
    return kinds if table.rows else ["words"] * len(table.head)


def _render(svg: str, **values: Iterable[object] | object) -> str:
    environment = Environment(
        loader=PackageLoader("retain.report", ""), autoescape=True, finalize=_tidy, undefined=StrictUndefined
    )
    environment.filters |= {
        "tidy": _tidy,
        "slug": _slug,
        "reading_class": _reading_class,
        "column_kinds": _column_kinds,
    }
    drawing = Markup(svg)  # noqa: S704 -- the drawing is ours: matplotlib escapes every name that it writes into an SVG
    return environment.get_template("page.html.jinja").render(svg=drawing, **values) + "\n"
