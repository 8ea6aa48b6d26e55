"""Numbers where classes or completions stand: values on a scale as a table has them, and ratings that nobody reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
"""A number in a cell of a table, where all is text."""

_MARK = re.compile(f"true|false|yes|no|{NUMBER.pattern}", re.IGNORECASE)

_WHOLE = re.compile(r"[-+]?\d{1,15}")
_BETWEEN = re.compile(r"[,;|]")
_FRACTION = re.compile(r"[-+]?\d+[.,]0*[1-9]\d*")
_RATING = re.compile("(.+_)?(scores?|rewards?|ratings?|weights?|ranks?|quality|label)", re.IGNORECASE)
"""Columns whose numbers rate a completion."""

SWITCHES = ("enable_thinking", "thinking")
"""Columns of truth values that a chat template reads."""

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


def whole_scale_told(labels: Sequence[Any]) -> str:
    """A clause on whole numbers that look like values on a scale; empty for any others.

    Hardly any stands there twice, and they count no classes: these leave few numbers out, and not every one of many
    stands there once only. Few rows of very many classes look the same, so only rows to learn are refused for it.
    """
    found = [int(text) for label in labels if _WHOLE.fullmatch(text := str(label).strip())]
    classes = sorted(set(found))
    if len(found) < len(labels) or len(classes) <= max(FEW_CLASSES, len(found) / 2):
        return ""
    gaps = classes[-1] - classes[0] + 1 >= 2 * len(classes)
    if not gaps and len(classes) < len(found):
        return ""
    return (
        f'"label" holds {len(classes)} whole numbers ({", ".join(map(str, found[:3]))}, …) in {len(found)} rows, each '
        f"of which would be a class of its own; {NO_SCALE}; give names, such as ranges of values by name"
    )


def classes_told(labels: Iterable[Any]) -> list[str]:
    """Clauses on classes that may be none: values on a scale, several in one text, the number that stands for none."""
    labels = list(labels)
    found = list(dict.fromkeys(str(label).strip() for label in labels if isinstance(label, str | int)))
    return [*filter(None, [whole_scale_told(labels), _several_told(found), _none_told(found)])]


def _several_told(classes: Sequence[str]) -> str:
    """A clause on classes each part of which, between commas, semicolons or bars, stands in other classes too."""
    listed = [one for one in classes if one.startswith("[") and one.endswith("]")]
    counts = {len(_BETWEEN.split(one)) for one in listed}
    if len(listed) == len(classes) and len(counts) > 1 and 1 in counts:  # ranges have two ends each
        return (
            f'"label" holds lists ({", ".join(map(repr, listed[:2]))}), each of which is a class of its own; '
            "classification with several labels (multi-label) is not supported"
        )
    parts = {one: [part.strip() for part in _BETWEEN.split(one)] for one in classes if _BETWEEN.search(one)}
    counted = Counter(part for one in classes for part in set(parts.get(one, [one])))
    several = [one for one, within in parts.items() if all(part and counted[part] > 1 for part in within)]
    if not several:
        return ""
    return (
        f'"label" names several classes in one ({", ".join(map(repr, several[:2]))}), each such text is a class of its '
        "own; classification with several labels (multi-label) is not supported"
    )


def _none_told(classes: Sequence[str]) -> str:
    """A clause on the class -1 beside others that are counted from 0, or that are names."""
    others = {one for one in classes if one != "-1"}
    if len(others) == len(classes) or others <= {"1"} or others == {"0", "1"} or "-2" in others:
        return ""  # 1 and -1, -1, 0 and 1, or steps from -2 to 2, are classes
    return (
        '"-1" is a class of its own; many data sets mark rows without a label so (SNLI, test sets of GLUE): leave '
        "such rows out"
    )


def rating_note(row: Mapping[str, Any]) -> str:
    """A clause on what rates a completion, which nobody reads: numbers, truth values; empty where there is nothing."""
    rated = (name for name, value in row.items() if _RATING.fullmatch(name) and _is_number(value))
    marked = (name for name, value in row.items() if isinstance(value, bool) and name not in SWITCHES)
    rating = {*rated, *marked, "harmful"}
    names = [f'"{name}"' for name in row if name in rating]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not read: all rows count alike" if names else ""


def is_mark(value: Any) -> bool:
    """True for a truth value or a number, also as text, which all is in a cell of a table."""
    return isinstance(value, int | float) or (isinstance(value, str) and _MARK.fullmatch(value.strip()) is not None)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)
