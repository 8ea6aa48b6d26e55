"""Rows that mean what no form reads, and rows that two forms could read: refused before items are made of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

from retain.data.answers import truth_value
from retain.data.columns import renamed, suggestions
from retain.data.examples import Example
from retain.data.item import DataItem
from retain.data.item_types import LabelledText
from retain.data.numbers import CLASSES_INSTEAD, NO_SCALE, is_mark
from retain.data.shapes import ALPACA_WAYS, TURNS, is_turns

Row = Mapping[str, Any]

Way = tuple[str, ...]
"""Columns that make a row an item."""

Ways = tuple[Way, ...]

EXAMPLES: Ways = (("messages",), Example.columns, *((name,) for name in TURNS if name != "messages"), *ALPACA_WAYS)
"""The ways to write an example, in the order in which they are looked for."""

_ANSWER = "(response|answer|completion|output|text|message|messages)"
_WORSE = re.compile(f"({_ANSWER}_)?(rejected|dispreferred|non_?preferred|worse)(_{_ANSWER})?", re.IGNORECASE)
_BETTER = re.compile(f"({_ANSWER}_)?(chosen|preferred|accepted|better)(_{_ANSWER})?", re.IGNORECASE)
"""Names of the two answers of a preference pair."""

_MARKS = ("label", "kto_tag", "desirable")
"""Columns that mark a completion as good or bad."""

_TRUTH = re.compile("true|false", re.IGNORECASE)

_TAGS = re.compile("tags$|^labels?$|^entities$|^spans$|^[ux]?pos$", re.IGNORECASE)
_WORDS = re.compile("^(ner|pos|chunk)_?tags$|^entities$|^spans$|^[ux]?pos$", re.IGNORECASE)
"""Columns of classes, and those of them whose classes are of words."""

_LISTED = re.compile(r"\[\s*(['\"].*['\"]\s*|-?\d[^\s,\]]*([\s,]+-?\d[^\s,\]]*){2,}\s*)?\]", re.DOTALL)
"""A list that was written into a cell of a table: of texts, or of three numbers and more; of two it may be a range."""


def ways_of(forms: Iterable[type[DataItem]]) -> Ways:
    """The columns of each form, and the ways in which others write examples."""
    return tuple(dict.fromkeys((*EXAMPLES, *(form.columns for form in forms))))


def as_told(row: Row, columns: Mapping[str, str], ways: Ways) -> dict[str, Any]:
    """A row with its columns renamed; where they are those of one way to read it, without those of the others."""
    row = renamed(row, columns)
    found = _complete(row, ways)
    told = {name for way in found if not columns.keys().isdisjoint(way) for name in way}
    others = {name for way in found if told.isdisjoint(way) for name in way} if told else set()
    return {name: value for name, value in row.items() if name not in others}


def two_ways(row: Row, ways: Ways) -> tuple[Way, Way, bool] | None:
    """Two ways to read a row that have no column in common, the one that is taken first; whether both say the same.

    Of ways that share columns one has the other's and more: choices and answers of a question.
    """
    pairs = [(one, other) for one, other in combinations(_complete(row, ways), 2) if set(one).isdisjoint(other)]
    told = [(one, other, one in EXAMPLES and _repeats(row, one, other)) for one, other in pairs]
    return min(told, key=lambda pair: pair[2], default=None)


def misread_reason(
    rows: Iterable[tuple[str, Row]], ways: Ways, columns: Mapping[str, str], *, labelled: bool, learned: bool
) -> str:
    """What some rows are, the place of the first of them, and what to try, where no form reads them as they are meant.

    Args:
        rows: with their places, their columns renamed.
        ways: columns of the forms that are known.
        columns: old names of columns by their new ones.
        labelled: whether the rows are of a form with classes.
        learned: whether they are examples, or of no form that is known.

    Returns:
        A clause with its place; empty where all is well.
    """
    harmless: set[Way] = set()
    for place, row in rows:
        if (names := tuple(row)) in harmless:
            continue
        known = _among(names, ways)
        if len(known) == 1 and not labelled and not _worse(names):
            harmless.add(names)
            continue
        found = two_ways(row, ways) if len(known) > 1 else None
        reason = _two_ways_reason(*found[:2]) if found is not None and not found[2] else ""
        if labelled:
            reason = reason or _label_reason(row.get("label"))
        elif learned:
            reason = reason or _pair_reason(row, columns) or ("" if known else _foreign_reason(row, ways))
        if reason:
            return f"{place}: {reason}"
    return ""


def same_twice(row: Row, ways: Ways) -> str:
    """A clause for a row that says the same in two ways; empty for any other."""
    found = two_ways(row, ways)
    return f"rows are read by {_quoted(found[0])}; {_quoted(found[1])} say the same" if found and found[2] else ""


def marked_reason(rows: Iterable[Row]) -> str:
    """A clause on examples that are marked as good or bad, with bad ones among them; empty where there are none.

    Numbers are marks where there are zeros and ones and nothing else; under the name of label they are classes.
    """
    rows = list(rows)
    for name in _MARKS:
        marks = [row[name] for row in rows if row.get(name) is not None and row[name] == row[name]]  # no NaN
        if name == "label" and not all(_TRUTH.fullmatch(str(mark).strip()) for mark in marks):
            continue  # of 0 and 1 as many are classes
        try:
            bad = sum(not truth_value(mark) for mark in marks)
        except ValueError:
            continue
        if bad and (bad < len(marks) or str(marks[0]).lower() == "false") and not _are_classes(rows, name):
            return (
                f'"{name}" marks {bad} of {len(rows)} completions as bad, as unpaired preference data (KTO) do; it is '
                "not read, and the bad ones would be learned as the good ones are. Keep only the rows where it is true "
                f"(or, where it means something else, give it another name: --columns other={name})"
            )
    return ""


def _are_classes(rows: Sequence[Row], name: str) -> bool:
    """True where few answers come again and again, each with one mark: yes with true and no with false."""
    marks: dict[str, set[str]] = {}
    for row in rows:
        way = next((way for way in EXAMPLES if _is_complete(row, way)), ())
        marks.setdefault(_texts(row, way)[-1].strip() if way else "", set()).add(str(row.get(name)).lower())
    return 2 * len(marks) <= len(rows) and all(len(found) == 1 for found in marks.values())


def _two_ways_reason(one: Way, other: Way) -> str:
    cures = " or ".join("--columns " + ",".join(f"{name}={name}" for name in way) for way in (one, other))
    return (
        f"it can be read by {_quoted(one)} and by {_quoted(other)}, which do not say the same; leave one "
        f"of them out, or say {cures}"
    )


def _pair_reason(row: Row, columns: Mapping[str, str]) -> str:
    """A clause on preference pairs, unless it was said which answer is the completion."""
    worse = next((name for name in _worse(tuple(row)) if _is_answer(row[name])), None)
    if worse is None or not columns.keys().isdisjoint(("completion", "messages", "output", "response")):
        return ""
    learned = next((way[-1] for way in EXAMPLES if _is_complete(row, way)), None)
    named = (name for name in row if _BETTER.fullmatch(name) and name != worse and _is_answer(row[name]))
    better = next(named, learned)
    if better is None or any(row.get(name) == row[better] for name in TURNS if name != better):
        return ""  # the better one stands there as what is to be learned, too
    if is_mark(row[worse]) and not is_mark(row[learned or better]):
        return ""
    return (
        f'it holds a preference pair ("{better}", "{worse}"); completions are learned here, no preferences (DPO), and '
        f'"{worse}" would not be read. To learn "{better}" alone, {_pair_cure(row, better)}'
    )


def _pair_cure(row: Row, better: str) -> str:
    prompt = row.get("prompt")
    if isinstance(row[better], str) and not row[better].lstrip().startswith("[{"):
        if "instruction" in row:
            return f"say --columns output={better}"
        pairs = [] if isinstance(prompt, str) else suggestions(row, [("prompt",)], most=1)
        if pairs or isinstance(prompt, str):
            return f"say --columns {','.join([*pairs, f'completion={better}'])}"
        return 'write what comes before the answer as "prompt", and the answer as "completion"'
    if isinstance(prompt, list):
        return f"say --columns completion={better}"
    if isinstance(row[better], str) or (isinstance(row[better], list) and len(row[better]) > 1):
        return f"say --columns messages={better}"
    return "write both turns as \"messages\", the prompt as the user's and the answer as the assistant's"


def _label_reason(label: Any) -> str:
    if isinstance(label, Mapping) or _is_list(label):
        return _several_reason("label", label)
    if isinstance(label, float) and math.isfinite(label) and not label.is_integer():
        return f'"label" is {label:g}, which is no class: {NO_SCALE}; {CLASSES_INSTEAD}'
    return ""


def _foreign_reason(row: Row, ways: Ways) -> str:
    """A clause on rows of a task that is not learned here: classes of words, or several of a text."""
    name = next((name for name, value in row.items() if _TAGS.search(name) and _is_list(value)), None)
    if name is None or suggestions({other: value for other, value in row.items() if other != name}, ways, most=1):
        return ""  # without that column, which is about the rest, it can be read under other names
    return _several_reason(name, row[name], words=any(_is_list(row.get(words)) for words in ("tokens", "words")))


def _several_reason(name: str, classes: Any, *, words: bool = False) -> str:
    """A clause on a column that holds several classes: of the words of a text, or of the whole."""
    within = isinstance(classes, list) and any(isinstance(one, list | Mapping) for one in classes)
    if words or within or _WORDS.search(name):
        return (
            f'"{name}" are classes of words within a text: token classification is not supported; give a whole text '
            "one class (text, label), or write the task as prompt and completion"
        )
    what = "an object" if isinstance(classes, Mapping) else "a list"
    return (
        f'"{name}" is {what}, and a text or an image has one class here: classification with several labels '
        "(multi-label) is not supported; give each row one class"
    )


def is_worse(name: str) -> bool:
    """True for the name of the worse answer of a preference pair."""
    return _WORSE.fullmatch(name) is not None


@lru_cache(maxsize=256)
def _worse(names: Way) -> Way:
    return tuple(name for name in names if is_worse(name))


@lru_cache(maxsize=256)
def _among(names: Way, ways: Ways) -> Ways:
    """The ways whose columns are all there; most rows of a file have the same columns."""
    return tuple(way for way in ways if set(way) <= set(names))


def _complete(row: Row, ways: Ways) -> list[Way]:
    return [way for way in _among(tuple(row), ways) if _is_complete(row, way)]


def _is_complete(row: Row, way: Way) -> bool:
    """True where each column of a way holds something, and columns of turns hold turns."""
    if len(way) == 1:
        return is_turns(row.get(way[0])) and bool(row[way[0]])
    return all(row.get(name) is not None and row[name] != "" for name in way)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and _LISTED.fullmatch(value.strip()) is not None)


def _is_answer(value: Any) -> bool:
    return isinstance(value, str | list | Mapping) and bool(value)


def _repeats(row: Row, one: Way, other: Way) -> bool:
    """True where the way that is read says all that the other does, in the same answer; or the other is its copy."""
    read, left = _texts(row, one), _texts(row, other)
    if other == LabelledText.columns:
        return all(text.strip() in left[0] for text in read)  # written out as one text, with a class of its own
    return read[-1].strip() == left[-1].strip() and all(text.strip() in "\n".join(read) for text in left)


def _texts(row: Row, way: Way) -> list[str]:
    """The texts of some columns, those of turns one by one."""
    found: list[str] = []
    for value in (row[name] for name in way):
        turns = value if isinstance(value, list) else [value]
        found += [str(turn.get("content", turn.get("value")) if isinstance(turn, Mapping) else turn) for turn in turns]
    return found


def _quoted(way: Way) -> str:
    return " and ".join(f'"{name}"' for name in way)
