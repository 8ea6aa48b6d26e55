"""Numbers where classes or completions stand: values on a scale as a table has them, and ratings that nobody reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
"""A number in a cell of a table, where all is text."""

_MARK = re.compile(f"true|false|yes|no|{NUMBER.pattern}", re.IGNORECASE)

_FRACTION = re.compile(r"[-+]?\d+[.,]0*[1-9]\d*")
_RATING = re.compile("(.+_)?(scores?|rewards?|ratings?|weights?|ranks?|quality|label)", re.IGNORECASE)
"""Columns whose numbers rate a completion."""

NO_SCALE = "values on a scale cannot be learned (regression is not supported)"
CLASSES_INSTEAD = "give names or whole numbers, such as ranges of values by name"
"""What is told of labels that are values, and what to try."""

FEW_CLASSES = 10
"""Numbers with fractions that are more than these, and most of which stand there once, are values on a scale."""


def scale_told(labels: Iterable[Any]) -> tuple[str, bool]:
    """A clause on classes that are numbers with fractions in cells of a table; empty for any others.

    Args:
        labels: as they stand in the rows.

    Returns:
        The clause; whether they are values on a scale, because hardly any stands there twice.
    """
    found = [label.strip() for label in labels if isinstance(label, str)]
    classes = list(dict.fromkeys(found))
    if not all(map(NUMBER.fullmatch, classes)) or not any(map(_FRACTION.fullmatch, classes)):
        return "", False
    clause = (
        f'"label" holds numbers with fractions ({", ".join(classes[:3])}, …), each of which is a class of its own; '
        f"{NO_SCALE}"
    )
    if len(classes) <= max(FEW_CLASSES, len(found) / 2):
        return clause, False
    return f"{clause}; {CLASSES_INSTEAD}", True


def rating_note(row: Mapping[str, Any]) -> str:
    """A clause on what rates a completion, which nobody reads: numbers, and `harmful`; empty where there is nothing."""
    rating = {name for name, value in row.items() if _RATING.fullmatch(name) and _is_number(value)} | {"harmful"}
    names = [f'"{name}"' for name in row if name in rating]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not read: all rows count alike" if names else ""


def is_mark(value: Any) -> bool:
    """True for a truth value or a number, also as text, which all is in a cell of a table."""
    return isinstance(value, int | float) or (isinstance(value, str) and _MARK.fullmatch(value.strip()) is not None)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)
