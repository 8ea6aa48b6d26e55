"""The right answer of a multiple choice, the class of a labelled item, and truth values, as people write them."""

from __future__ import annotations

import math
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from retain.data.cells import unpacked
from retain.data.sentences import found

CURE = "give the number of the right choice counted from 0, its letter, or its text"


def answer_index(value: Any, choices: Sequence[str]) -> int:
    """The index of the right choice, from 0, of an index, a letter (A is the first), or the text of the choice.

    Raises:
        ValueError: it is none of these, or text that means two of them.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected the right choice, found {found(value)}; {CURE}")  # noqa: TRY004  (of rows)
    if isinstance(value, str):
        return _index_of_text(value, choices)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"expected the right choice, found {found(value)}; {CURE}")
    return int(value)


def _index_of_text(value: str, choices: Sequence[str]) -> int:
    text = value.strip()
    bare = text.strip("().: ")
    meanings: dict[str, int] = {}
    same = [index for index, choice in enumerate(choices) if choice == value or choice.strip() == text]
    if same:
        meanings["the text"] = same[0]
    letter = string.ascii_uppercase.find(bare.upper()) if len(bare) == 1 else -1
    if 0 <= letter < max(len(choices), 2):
        meanings["the letter"] = letter
    if text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) < 10:
        meanings["the index"] = int(text)
    if not meanings:
        raise ValueError(f"{found(value)} is none of the choices; {CURE}")
    if len(set(meanings.values())) > 1:
        named = " and ".join(f"{name} of choice {index + 1}" for name, index in meanings.items())
        raise ValueError(f"{found(value)} is {named}: which is meant? Give the index as a number, counted from 0")
    return next(iter(meanings.values()))


def listed_choices(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose choices are a list: {"text": […], "label": […]}, as in ARC, or {"A": …, "B": …} are taken apart.

    Where the choices have labels of their own, an answer that is a label means this, whatever else it could mean.

    Raises:
        ValueError: texts and labels do not fit together.
    """
    choices = row.get("choices")
    if isinstance(choices, str) and choices.lstrip().startswith(("[", "{")):
        choices = unpacked(choices, "choices")
    if not isinstance(choices, Mapping):
        return {**row, "choices": choices} if "choices" in row else dict(row)
    texts, labels = choices.get("text"), choices.get("label")
    if choices and all(isinstance(text, str) for text in choices.values()):
        texts, labels = list(choices.values()), list(choices)
    if not isinstance(texts, list | tuple) or not isinstance(labels, list | tuple) or len(texts) != len(labels):
        raise ValueError(
            'field "choices": expected a list of texts, {"text": […], "label": […]}, or {"A": …, "B": …}, found '
            f"{found(choices)}"
        )
    if len(set(map(str, labels))) < len(labels):
        raise ValueError('field "choices": two of them have the same label')
    answer = row.get("answer")
    known = [index for index, label in enumerate(labels) if str(label) == str(answer).strip()]
    return {**row, "choices": list(texts), "answer": known[0] if known else answer}


def label_text(value: Any) -> Any:
    """A class as text, without the spaces around it, which nobody sees.

    Data sets give whole numbers and truth values too, and pandas whole numbers as 1.0.

    Raises:
        ValueError: it is another number: a value to predict, and no class.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value) or not value.is_integer():
            raise ValueError(
                f'field "label": {found(value)} is no class; give names or whole numbers (values on a scale cannot be '
                "learned as classes)"
            )
        return str(int(value))
    if isinstance(value, str):
        return value.strip() or value
    return str(value) if isinstance(value, int) else value


def called(names: Sequence[str], labels: Iterable[str]) -> list[str]:
    """The classes of a model as data call them: outputs that nobody named are the numbers of data that count classes.

    Args:
        names: of the model's outputs, in their order.
        labels: the classes of the data.

    Examples:
        >>> called(["LABEL_0", "LABEL_1"], ["1", "0"])
        ['0', '1']
        >>> called(["LABEL_0", "LABEL_1"], ["bad", "good"])
        ['LABEL_0', 'LABEL_1']
    """
    numbers = [str(number) for number in range(len(names))]
    unnamed = [f"LABEL_{number}" for number in numbers]  # transformers' own where none are named
    return numbers if list(names) == unnamed and set(labels) <= set(numbers) else list(names)


_TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def truth_value(value: Any) -> bool:
    """A truth value: true or false, 1 or 0, or either as text, as tables have them.

    Raises:
        ValueError: as a clause, it is anything else.
    """
    known = _TRUTHS.get(str(value).strip().lower()) if isinstance(value, bool | int | float | str) else None
    if known is None:
        raise ValueError(f"expected true or false (or 1 or 0), found {found(value)}")
    return known


def label_notes(labels: Iterable[Any]) -> list[str]:
    """Clauses on classes that some rows write as a number or truth value and others as text: they are one class.

    Args:
        labels: as they stand in the rows.
    """
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for label in labels:
        if isinstance(label, str | bool | int | float):
            written[label_text(label)]["text" if isinstance(label, str) else "a number or truth value"] += 1
    return [
        f"the class {label!r} is written as {' and as '.join(f'{kind} ({count})' for kind, count in kinds.items())}; "
        "it is read as one class"
        for label, kinds in written.items()
        if len(kinds) > 1
    ]
