"""What a log holds, whichever program wrote it: suites with each item's answer and scores, and how they were asked.

A format is a file `read_NAME.py` that gives a `Log`, and one row in `retain.jobs.judge.formats`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retain.records.manifest import file_digest
from retain.records.metric import Metric

MOST_NAMED = 5
"""The most items that a sentence names; of more, their number is given."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One item as one model answered it.

    Attributes:
        id: of the item within its suite; empty where the log has none.
        epoch: which time the item was asked, from 1.
        asked: hash of all that was put to the model; empty where the log does not hold that.
        question: as a reader sees it.
        expected: the right answer, where there is one.
        answer: what the model said.
        cut_off: whether the longest length ended it; None where the log does not tell.
        scores: by metric; NaN where the program gave none.
        group: items of one group belong together.
        condition: the domain, corruption or task that the item belongs to.
        withheld: whether the texts are neither stored nor shown.
    """

    id: str
    epoch: int = 1
    asked: str = ""
    question: str = ""
    expected: str | None = None
    answer: str | None = None
    cut_off: bool | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    group: str | None = None
    condition: str | None = None
    withheld: bool = False

    @property
    def name(self) -> str:
        """The item as messages name it."""
        shown = self.id or f"with the prompt {self.asked[:12]}…"
        return shown if self.epoch == 1 else f"{shown} (epoch {self.epoch})"


@dataclass(frozen=True, kw_only=True)
class LoggedSuite:
    """One suite as one model answered it.

    Attributes:
        name: of the suite.
        answers: in the log's order.
        metrics: that the log names, in its order, the one that decides first; those that items have beside them follow.
        declared: metrics that the log knows in full.
        higher_is_better: direction of the others, by name, as the log declares it.
        chance: share that can be had without reading; None where the log does not tell.
        asked_as: how it was asked, by what a reader calls it: equal on both sides, or they cannot be compared.
        asked_with: what shapes the prompts, likewise: equal too, unless all prompts are known to be.
        task_type: as a record names it.
        source: where it comes from.
        version: of the suite, as the log says.
    """

    name: str
    answers: tuple[Answer, ...]
    metrics: tuple[str, ...] = ()
    declared: Mapping[str, Metric] = field(default_factory=dict)
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    chance: float | None = None
    asked_as: Mapping[str, str] = field(default_factory=dict)
    asked_with: Mapping[str, str] = field(default_factory=dict)
    task_type: str = "logged"
    source: str = ""
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Log:
    """All that one model answered.

    Attributes:
        place: the log as it was given.
        program: that wrote it, with its version where that is known.
        model: as the log names it.
        on: the model that it was tuned from, where the log names it by its method alone.
        suites: by name, those that were asked for.
        names: of all suites that the log holds.
        groups: names of suites, or of groups, by the group that the log counts them to.
        told: what need not be equal on both sides and is told where it is not: dtype, device, versions.
        notes: sentences on how the log was read.
        digest: SHA-256 of the files that were read.
    """

    place: str
    program: str
    model: str
    suites: Mapping[str, LoggedSuite]
    names: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    digest: str = ""
    on: str = ""


def hash_of(value: Any) -> str:
    """A hash of plain values: equal for equal ones."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def digest_of(files: Iterable[Path]) -> str:
    """A hash of the contents of some files, in their order."""
    return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()


def plain_text(value: Any) -> str:
    """A value of a log as one line of text: what stands in `asked_as`."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listing(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def counted(number: int, what: str) -> str:
    """A number of things: `1 item`, `2,000 items`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def named(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
