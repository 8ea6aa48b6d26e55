"""Rows of one's own: `{id, correct}`, `{id, score}` or `{id, prediction, label}`, as JSONL, CSV or Parquet.

Beside these a row may have `prompt` (or `hash`), `suite` (or `task`), `group`, `condition`, `epoch`, and `choices`.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retain.data.file_content import bare_stem
from retain.data.sources import first_problems, source_rows
from retain.errors import InputError
from retain.evaluate.scores.without_reading import ALMOST_SURE
from retain.jobs.judge.logs import Answer, Log, LoggedSuite, counted, hash_of, plain_text
from retain.records.metrics_table import ACCURACY

ONE_SUITE = "items"
"""The suite of rows that name none: the same on both sides, whatever the files are called."""

_WORDS = {"true": 1.0, "false": 0.0}
_LARGEST_NUMBER_OF_CHOICES = 10_000

Numbered = tuple[str, dict[str, Any]]


def recognises(path: Path) -> bool:
    """True for any file: what it holds is told when it is read."""
    return path.is_file()


def read(path: Path, wanted: Sequence[str] = ()) -> Log:
    """Read a file of rows.

    Args:
        path: of the file.
        wanted: names of the suites that are read. [all]

    Raises:
        InputError: with every row that cannot be used.
    """
    problems: list[str] = []
    rows = [(place, row) for place, row in source_rows(str(path), problems) if _is_row(place, row, problems)]
    if not rows and not problems:
        problems.append(f"{path}: holds no rows.")
    by_suite: dict[str, list[Numbered]] = {}
    for place, row in rows:
        by_suite.setdefault(str(row.get("suite") or row.get("task") or ONE_SUITE), []).append((place, row))
    names = tuple(by_suite)
    by_suite = {name: of_suite for name, of_suite in by_suite.items() if not wanted or name in wanted}
    suites = {name: _suite(name, of_suite, path, problems) for name, of_suite in by_suite.items()}
    if problems:
        raise InputError(first_problems(str(path), problems))
    return Log(
        place=str(path),
        program="rows",
        model=bare_stem(path.name),
        suites=suites,
        names=names,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def _is_row(place: str, row: Any, problems: list[str]) -> bool:
    if not isinstance(row, dict):
        problems.append(f"{place}: expected an object with id and correct, score or prediction.")
        return False
    given = _id(row)
    if given is None:
        problems.append(f"{place}: id: expected a whole number or text, found {plain_text(row['id'])}.")
    elif row.get("epoch") not in (None, "") and _whole(row["epoch"]) is None:
        problems.append(f"{place}: epoch: expected a whole number, found {plain_text(row['epoch'])}.")
    elif not given and not _asked(row):
        problems.append(f"{place}: has neither id nor prompt, so that it cannot be paired with the other side's.")
    else:
        return True
    return False


def _id(row: Mapping[str, Any]) -> str | None:
    """The id as text, empty where there is none; None where it is no id."""
    given = row.get("id")
    if given is None or isinstance(given, str):
        return given or ""
    number = _whole(given)
    return None if number is None else str(number)


def _whole(value: Any) -> int | None:
    """A whole number, also as text, as in CSV, or as 7.0, as in a column with gaps; None for anything else."""
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if type(value) is int else None


def _suite(name: str, rows: Sequence[Numbered], path: Path, problems: list[str]) -> LoggedSuite:
    scores, names = _scores(name, rows, path, problems)
    answers = tuple(_answer(row, of_row) for (_, row), of_row in zip(rows, scores, strict=True))
    return LoggedSuite(
        name=name,
        answers=answers,
        metrics=tuple(names),
        declared={ACCURACY.name: ACCURACY},
        chance=_chance([row for _, row in rows]),
        task_type="rows",
        source=path.name,
    )


def _scores(
    suite: str, rows: Sequence[Numbered], path: Path, problems: list[str]
) -> tuple[list[dict[str, float]], list[str]]:
    """The scores of each row by metric, and the metrics; all rows of a suite say it in one way."""
    ways = _places([_way(row) or "none of these" for _, row in rows], rows)
    place = f"{path}: " if suite == ONE_SUITE else f"{path}, suite {suite}: "
    if len(ways) > 1 or "none of these" in ways:
        told = "; ".join(f"{way} in {where}" for way, where in ways.items())
        problems.append(
            f"{place}expected one of correct, score, scores, or prediction and label in all rows; found {told}."
        )
        return [{} for _ in rows], []
    (way,) = ways
    if way == "prediction and label":
        return [{ACCURACY.name: _is_right(of, row, problems)} for of, row in rows], [ACCURACY.name]
    if way == "scores":
        found = [dict(row["scores"]) for _, row in rows]
        names = list(dict.fromkeys(name for one in found for name in one))
        columns = {name: _numbers([one.get(name) for one in found], f"{place}{name}", rows, problems) for name in names}
        return [{name: columns[name][k] for name in names if name in found[k]} for k in range(len(rows))], names
    values = _numbers([row[way] for _, row in rows], f"{place}{way}", rows, problems)
    if way == "correct" and (odd := [value for value in values if value not in (0, 1)]):
        problems.append(f"{place}correct: expected true or false, found {odd[0]:g}; give degrees as score.")
    metric = ACCURACY.name if way == "correct" else "score"
    return [{metric: value} for value in values], [metric]


def _way(row: Mapping[str, Any]) -> str:
    if "correct" in row:
        return "correct"
    if "score" in row:
        return "score"
    if isinstance(row.get("scores"), dict) and row["scores"]:
        return "scores"
    return "prediction and label" if "prediction" in row and "label" in row else ""


def _places(kinds: Sequence[str], rows: Sequence[Numbered]) -> dict[str, str]:
    """How many rows are of each kind, and where the first of a rare kind stands."""
    counts = Counter(kinds)
    usual = counts.most_common(1)[0][0]
    first = {kind: rows[kinds.index(kind)][0] for kind in counts if kind != usual}
    return {
        kind: counted(count, "row") + (f" (first {first[kind]})" if kind in first else "")
        for kind, count in counts.most_common()
    }


def _numbers(values: Sequence[Any], place: str, rows: Sequence[Numbered], problems: list[str]) -> list[float]:
    """Values of one column as numbers: all true or false, all numbers, or all text that is a number, as in CSV."""
    kinds = _places([_kind(value) for value in values], rows)
    if len(kinds) > 1 or not kinds.keys() <= {"true or false", "numbers", "text"}:
        told = ", ".join(f"{kind} in {where}" for kind, where in kinds.items())
        problems.append(f"{place}: holds {told}; expected one kind, with a value in every row.")
        return [0.0] * len(values)
    found = []
    for value, (where, _) in zip(values, rows, strict=True):
        try:
            found.append(_number(value))
        except (ValueError, OverflowError):
            problems.append(
                f"{place}: expected numbers, or true and false, found {plain_text(value)} ({where}); write 1 for right "
                "and 0 for wrong, or give the column another name."
            )
            return [0.0] * len(values)
    if odd := sum(not math.isfinite(value) for value in found):
        problems.append(f"{place}: is not finite in {counted(odd, 'row')}.")
        return [0.0] * len(values)
    return found


def _number(value: Any) -> float:
    """A value as a number, also where it is text; true and false are words for 1 and 0."""
    word = value.strip().lower() if isinstance(value, str) else ""
    return _WORDS[word] if word in _WORDS else float(value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "numbers"
    return "text" if isinstance(value, str) else "nothing" if value is None else type(value).__name__


def _is_right(place: str, row: Mapping[str, Any], problems: list[str]) -> float:
    """1 where the prediction is the label, or one of several; texts are compared without space around them."""
    said, labels = row["prediction"], row["label"] if isinstance(row["label"], list) else [row["label"]]
    if said is None:  # no answer is a wrong one
        return 0.0
    kinds = {_kind(value) for value in (said, *labels)}
    if odd := kinds - {"true or false", "numbers", "text"}:
        problems.append(f"{place}: prediction and label: expected text, numbers, or true or false, found {min(odd)}.")
    elif len(kinds) > 1:
        problems.append(
            f"{place}: prediction {plain_text(said)} and label {plain_text(row['label'])} are of different kinds "
            f"({', '.join(sorted(kinds))}), so that they can never be equal."
        )
    return float(any(_plain(said) == _plain(label) for label in labels))


def _plain(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _asked(row: Mapping[str, Any]) -> str:
    """The hash of the prompt, as given or taken here; empty where there is neither."""
    if row.get("prompt") is not None:
        return hash_of(row["prompt"])
    return str(row.get("hash") or row.get("prompt_hash") or "")


def _answer(row: Mapping[str, Any], scores: Mapping[str, float]) -> Answer:
    prompt, label = row.get("prompt"), row.get("label")
    shown = "" if prompt is None else plain_text(prompt)
    return Answer(
        id=_id(row) or "",
        epoch=_epoch(row) or 1,
        asked=_asked(row),
        question=shown or f"item {_id(row)}",
        expected=None if label is None else plain_text(label),
        answer=None if row.get("prediction") is None else plain_text(row["prediction"]),
        scores=scores,
        group=_group(row),
        condition=None if row.get("condition") is None else str(row["condition"]),
    )


def _group(row: Mapping[str, Any]) -> str | None:
    """The group that is given; of an item asked several times the item."""
    if row.get("group") is not None:
        return str(row["group"])
    return None if _epoch(row) is None else _id(row)


def _epoch(row: Mapping[str, Any]) -> int | None:
    """Which time the item was asked; None where the row does not say."""
    return _whole(row.get("epoch"))


def _guess(choices: Any) -> float | None:
    """Probability of guessing right among choices, given as a list or by their number."""
    number = len(choices) if isinstance(choices, list) else _whole(choices)
    return 1 / number if number is not None and 1 < number <= _LARGEST_NUMBER_OF_CHOICES else None


def _chance(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """What can be had without reading: any choice, or the commonest label; None where rows tell neither."""
    guesses = [_guess(row.get("choices")) for row in rows]
    known = [guess for guess in guesses if guess is not None]
    found = [sum(known) / len(known)] if known and len(known) == len(rows) else []
    labels = [plain_text(row["label"]) for row in rows if row.get("label") is not None]
    if labels and len(labels) == len(rows):
        found.append(max(Counter(labels).values()) / len(labels))
    return min(max(found), ALMOST_SURE) if found else None
