"""The items of a page: what each model said to a question that was lost or gained. Withheld texts never get here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from retain.compare.item_examples import changed_items, readable, showable, side_scores, task_items, withheld_note
from retain.compare.lost_across import LostItem
from retain.records.items import Item, Side
from retain.records.metric import Metric
from retain.records.result import Result

MOST_LOST, MOST_GAINED, MOST_TASK = 50, 20, 10
LONGEST = 600


@dataclass(frozen=True)
class ShownSide:
    """One model's answer to an item."""

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
    """Items under one heading; `more` counts those that are not shown, `note` says what is withheld."""

    title: str
    items: tuple[ShownItem, ...]
    more: int
    open: bool = False
    note: str = ""


def run_lists(result: Result, items: Sequence[Item]) -> list[ItemList]:
    """The items of one run: lost ones first, then those that should be gone, gained ones, and the first of the task."""
    lists = []
    for score in result.keep:
        changed = changed_items(items, score)
        words = ("became worse", "became better") if changed.graded else ("lost", "gained")
        kinds = ((words[0], changed.lost, MOST_LOST), (words[1], changed.gained, MOST_GAINED))
        for word, of_kind, most in kinds:
            if of_kind:
                title = f"{score.name} ({score.metric.title}): {len(of_kind)} {word}"
                lists.append(_item_list(title, of_kind, most, score.metric))
    for gone in result.gone:
        of_suite = [item for item in items if item.part == "gone" and item.suite == gone.name]
        known = [item for item in of_suite if item.base.scores.get(gone.metric.name) == 1]
        for word, right in (("still right", True), ("no longer right", False)):
            answered = [item for item in known if (item.tuned.scores.get(gone.metric.name) == 1) == right]
            if answered:
                title = f"{gone.name} ({gone.metric.title}): {len(answered)} {word}"
                lists.append(_item_list(title, answered, MOST_LOST if right else MOST_GAINED, gone.metric))
    lists.sort(key=lambda found: " gained" in found.title or "became better" in found.title)
    lists = [replace(found, open=place == 0) for place, found in enumerate(lists)]
    task = [item for item in showable(items) if item.part == "task"]
    if task:
        shown = [_shown(item, None) for item in task_items(items, MOST_TASK)]
        lists.append(ItemList("The task: the first items, not chosen", tuple(shown), len(task) - len(shown)))
    return lists


def _item_list(title: str, items: Sequence[Item], most: int, metric: Metric) -> ItemList:
    with_text = showable(items)
    shown = tuple(_shown(item, metric) for item in with_text[:most])
    return ItemList(title, shown, max(0, len(with_text) - most), note=withheld_note(items))


def _shown(item: Item, metric: Metric | None) -> ShownItem:
    named = [("base", item.base), ("tuned", item.tuned), ("relearned", item.relearned)]
    sides = tuple(_side(name, side, metric) for name, side in named if side is not None)
    return ShownItem(readable(item.question, LONGEST) or "(empty)", readable(item.expected, LONGEST), sides)


def _side(name: str, side: Side, metric: Metric | None) -> ShownSide:
    shown = ", ".join(part for part in (side_scores(side, metric), "cut off" if side.cut_off else "") if part)
    return ShownSide(name, readable(side.answer, LONGEST), shown)


def lost_list(suite: str, items: Sequence[LostItem]) -> ItemList:
    """The items of one suite that runs of a comparison lost, those of most runs first."""
    shown = []
    with_text = [lost for lost in items if not lost.item.withheld]
    for lost in with_text[:MOST_LOST]:
        answers = [ShownSide(name, readable(answer, LONGEST), "") for name, answer in lost.answers]
        sides = (ShownSide("base", readable(lost.item.base.answer, LONGEST), "right"), *answers)
        question = readable(lost.item.question, LONGEST) or "(empty)"
        shown.append(ShownItem(question, readable(lost.item.expected, LONGEST), sides))
    title = f"{suite}: {len(items)} items lost by some run"
    note = withheld_note([lost.item for lost in items])
    return ItemList(title, tuple(shown), max(0, len(with_text) - MOST_LOST), note=note)
