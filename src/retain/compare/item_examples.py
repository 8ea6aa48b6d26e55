"""Items to look behind the figures with: what was lost, what was gained, what the task's answers became."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retain.records import numbers
from retain.records.items import Item, Side
from retain.records.metric import Metric
from retain.records.metrics_table import metric_named
from retain.records.scores import KeepScore

RIGHT = 0.5
"""A right-or-wrong score is 1 or 0; from here on it counts as right."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Changed:
    """The items of one keep figure that became worse and better, in file order (graded ones by size of the change)."""

    score: KeepScore
    lost: tuple[Item, ...]
    gained: tuple[Item, ...]

    @property
    def graded(self) -> bool:
        """True where the metric is a matter of degree, so that "lost" means "worse"."""
        return self.score.lost is None


def changed_items(items: Sequence[Item], score: KeepScore) -> Changed:
    """The items lost and gained in one retention suite; none where the suite was not scored."""
    if score.status == "too few items":
        return Changed(score, (), ())
    of_suite = [item for item in items if item.part == "keep" and item.suite == score.name]
    both = [
        item for item in of_suite if score.metric.name in item.base.scores and score.metric.name in item.tuned.scores
    ]
    if score.lost is not None:
        lost = [item for item in both if _right(item.base, score) and not _right(item.tuned, score)]
        gained = [item for item in both if _right(item.tuned, score) and not _right(item.base, score)]
        return Changed(score, tuple(lost), tuple(gained))
    ordered = sorted(both, key=lambda item: _improvement(item, score))
    lost = [item for item in ordered if _improvement(item, score) < 0]
    gained = [item for item in reversed(ordered) if _improvement(item, score) > 0]
    return Changed(score, tuple(lost), tuple(gained))


def _right(side: Side, score: KeepScore) -> bool:
    return side.scores[score.metric.name] >= RIGHT


def _improvement(item: Item, score: KeepScore) -> float:
    change = item.tuned.scores[score.metric.name] - item.base.scores[score.metric.name]
    return change if score.metric.higher_is_better else -change


def showable(items: Sequence[Item]) -> list[Item]:
    """The items whose text may be shown: all but those withheld. Every list of items passes through here."""
    return [item for item in items if not item.withheld]


def task_items(items: Sequence[Item], most: int) -> list[Item]:
    """The first task items, not chosen by their scores; those with a written answer first, if any has one."""
    of_task = [item for item in showable(items) if item.part == "task"]
    answered = [item for item in of_task if item.base.answer is not None or item.tuned.answer is not None]
    return (answered or of_task)[:most]


def clean(text: str) -> str:
    """Text without characters that steer a terminal or turn the direction of writing."""
    return _UNPRINTABLE.sub("�", text.replace("\r\n", "\n"))


def readable(text: str | None, longest: int) -> str | None:
    """Clean text, cut after `longest` characters."""
    if text is None:
        return None
    whole = clean(text).strip()
    return whole if len(whole) <= longest else whole[: longest - 1].rstrip() + "…"


MOST_SCORES = 4


def side_scores(side: Side, metric: Metric | None) -> str:
    """One side's scores in words, of one metric or of the first; "right" and "wrong" where the score says just that."""
    parts = []
    for name, value in list(side.scores.items())[: None if metric else MOST_SCORES]:
        if metric is None or name == metric.name:
            shown = metric or metric_named(name) or Metric(name=name)
            word = {0.0: "wrong", 1.0: "right"}.get(value) if shown.right_or_wrong else None
            words = f"{shown.title} {word or numbers.plain(value, shown.unit)}"
            parts.append(word if word and metric else words)
    return ", ".join(parts)


def withheld_note(items: Sequence[Item]) -> str:
    """A note on how many of these items have a withheld text; empty where none has."""
    hidden = len(items) - len(showable(items))
    return f"{hidden} withheld: their texts are neither stored nor shown." if hidden else ""
