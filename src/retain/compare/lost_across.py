"""The items that runs of a comparison lost, with the number of runs that lost each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retain.compare.aggregate import Group
from retain.compare.item_examples import changed_items
from retain.compare.pick import Key, keep_score
from retain.records.items import Item

MOST_ANSWERS = 6


@dataclass(frozen=True)
class LostItem:
    """An item that some runs lost. `answers` has, for each setting that lost it, in how many runs and what one said."""

    item: Item
    runs: int
    answers: tuple[tuple[str, str | None], ...]


def lost_across(groups: Sequence[Group], items: Mapping[str, Sequence[Item]], key: Key) -> list[LostItem]:
    """The items of a right-or-wrong retention suite that any run lost, those of most runs first.

    Args:
        groups: the settings of a comparison.
        items: each run's items by the run's name; runs without items are passed over.
        key: the suite and its metric.
    """
    losers: dict[int, dict[str, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for group in groups:
        for run in group.runs:
            score = keep_score(run.result, key)
            if score is not None and score.lost is not None:
                for item in changed_items(items.get(run.name, ()), score).lost:
                    losers[item.index][group.title].append(item)
    runs_of = {group.title: len(group.runs) for group in groups}
    found = [_lost_item(settings, runs_of) for settings in losers.values()]
    return sorted(found, key=lambda lost: (-lost.runs, lost.item.index))


def _lost_item(settings: Mapping[str, Sequence[Item]], runs_of: Mapping[str, int]) -> LostItem:
    most_first = sorted(settings.items(), key=lambda pair: -len(pair[1]))
    answers = [
        (f"{title}, {len(lost)} of {runs_of[title]}", lost[0].tuned.answer) for title, lost in most_first[:MOST_ANSWERS]
    ]
    first = most_first[0][1][0]
    return LostItem(first, sum(map(len, settings.values())), tuple(answers))
