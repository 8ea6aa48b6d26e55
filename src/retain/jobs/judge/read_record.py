"""One side of a run of retain (`result.json`, `items.jsonl`): the tuned model's, unless `:base` is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from retain.compare.pick import model_name
from retain.errors import InputError
from retain.jobs.judge.logs import Answer, Log, LoggedSuite, hash_of
from retain.records.gone_record import GoneScore
from retain.records.items import Item, read_items, unlike_record
from retain.records.result import Result, read_result
from retain.records.scores import KeepScore, TaskScore

Named = Literal["base", "tuned"]
"""The sides of a record."""


def recognises(path: Path) -> bool:
    """True for the folder of a run, whose side may be said behind it."""
    return (folder_of(path) / "result.json").is_file()


def folder_of(path: Path) -> Path:
    """The folder of a run, without the side that may be said behind it."""
    return _parted(path)[0]


def read(path: Path, wanted: Sequence[str] = ()) -> Log:
    """Read one side of a run.

    Args:
        path: the run's folder, or that with `:base` or `:tuned` behind it. [tuned]
        wanted: names of the suites that are read. [all]

    Raises:
        InputError: the record is missing, damaged, or its items are not those that it was written with.
    """
    folder, side = _parted(path)
    result = read_result(folder / "result.json")
    place = folder / "items.jsonl"
    if not place.is_file():
        raise InputError(f"{place}: missing; without the items nothing can be paired.")
    if reason := unlike_record(place, result.provenance.items_hash):
        raise InputError(reason)
    items = list(read_items(place))
    names = dict.fromkeys(item.suite for item in items if item.part != "held-out")
    suites = {name: _suite(name, result, items, side) for name in names if not wanted or name in wanted}
    asked = {} if result.conditions is None else result.conditions[side].model_dump()
    left_out = any(item.part == "held-out" for item in items)
    return Log(
        place=str(path),
        program="retain",
        model=result.method.name if side == "tuned" else model_name(result.model),
        suites=suites,
        names=tuple(names),
        told={name.replace("_", " "): str(asked[name]) for name in ("engine", "dtype", "device") if name in asked},
        notes=(f"{folder}: its held-out text is not compared.",) if left_out else (),
        digest=result.provenance.items_hash,
        on=model_name(result.model) if side == "tuned" else "",
    )


def _parted(path: Path) -> tuple[Path, Named]:
    """The folder, and the side that is said behind it."""
    start, _, side = path.name.rpartition(":")
    if not start or side not in {"base", "tuned"} or path.exists():
        return path, "tuned"
    return path.with_name(start), "base" if side == "base" else "tuned"


def _suite(name: str, result: Result, items: Sequence[Item], side: Named) -> LoggedSuite:
    scores: list[KeepScore | TaskScore | GoneScore] = [*result.keep, *result.task, *result.gone]
    of_items = [one for one in scores if one.name == name and one.metric.level == "item"]
    facts = next((one for one in result.suites if one.name == name), None)
    return LoggedSuite(
        name=name,
        answers=tuple(_answer(item, side) for item in items if item.suite == name),
        metrics=tuple(one.metric.name for one in of_items),
        declared={one.metric.name: one.metric for one in of_items},
        chance=next((one.chance for one in of_items if isinstance(one, KeepScore)), None),
        task_type=facts.task_type if facts else "retain",
        source=facts.source if facts else "",
        version=str(facts.version) if facts else "",
    )


def _answer(item: Item, side: Named) -> Answer:
    said = item.base if side == "base" else item.tuned
    return Answer(
        id=str(item.index),
        asked="" if item.withheld else hash_of(item.question),
        question=item.question,
        expected=item.expected,
        answer=said.answer,
        cut_off=said.cut_off,
        scores=said.scores,
        group=item.group,
        condition=item.condition,
        withheld=item.withheld,
    )
