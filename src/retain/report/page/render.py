"""Templates into pages: whatever is printed is escaped and cleaned, whatever is drawn is ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from retain.compare.item_examples import clean
from retain.records.numbers import MISSING
from retain.report.claims import SYMBOLS
from retain.report.tables.gone_tables import GONE_SIGNS
from retain.report.tables.scores_table import Table
from retain.report.verdict_words import VERDICT_SIGNS

CARD_ROWS = 12
"""Tables up to so many rows become a list of cards on a phone; longer ones scroll sideways."""
FOLDED_ROWS = 24
"""Tables of more rows are folded up under their caption."""

_FIGURE = re.compile(r"[\d+−—\[]")
_SIGNED = [(name, f"{sign} {name}") for signs in (SYMBOLS, VERDICT_SIGNS, GONE_SIGNS) for name, sign in signs.items()]


@dataclass(frozen=True)
class Drawing:
    """An `<svg>` element of ours, and what it shows in words."""

    svg: str
    caption: str

    @property
    def markup(self) -> Markup:
        """The element as it stands."""
        return Markup(self.svg)  # noqa: S704 -- ours: matplotlib escapes every name that it writes into an SVG


def _tidy(value: object) -> object:
    """Whatever the page prints, but the drawing and what macros have made already."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _slug(reading: str) -> str:
    return reading.replace(" ", "-")


def _reading_class(cell: str) -> str:
    return "none" if cell == MISSING else next((_slug(name) for name, told in _SIGNED if cell == told), "plain")


def _column_kinds(table: Table) -> list[str]:
    """Columns of figures are set to the right and kept on one line, columns with words to the left."""
    kinds = ["words"]
    for column in list(zip(*table.rows, strict=True))[1:]:
        figures = all((_FIGURE.match(cell) or _reading_class(cell) != "plain") and len(cell) < 40 for cell in column)
        told = all(_reading_class(cell) != "plain" for cell in column)
        kinds.append("outcome" if told else "number" if figures else "words")
    return kinds if table.rows else ["words"] * len(table.head)


def _table_class(table: Table) -> str:
    return "cards" if len(table.rows) <= CARD_ROWS and len(table.head) > 2 else "wide"


def _is_folded(table: Table) -> bool:
    return len(table.rows) > FOLDED_ROWS


def render(template: str, **values: object) -> str:
    """The page of a template; every value that it names must be given."""
    return _environment().get_template(template).render(**values) + "\n"


@cache
def _environment() -> Environment:
    """The templates, each read and compiled once."""
    environment = Environment(
        loader=PackageLoader("retain.report.page", ""), autoescape=True, finalize=_tidy, undefined=StrictUndefined
    )
    environment.filters |= {
        "tidy": _tidy,
        "slug": _slug,
        "reading_class": _reading_class,
        "column_kinds": _column_kinds,
        "table_class": _table_class,
        "is_folded": _is_folded,
    }
    return environment
