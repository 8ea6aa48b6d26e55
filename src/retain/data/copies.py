"""Copies within one data set: rows that ask the same are one independent unit, whoever wrote them down twice.

Two rows are copies if they are equal once case, white space and punctuation around words are folded; of rows with
choices the choices must be the same too, in any order. Images are copies if their files hold the same bytes.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence

from retain.data.collector import without_collector
from retain.data.contamination import prompts_differ
from retain.data.item import DataItem
from retain.data.texts import file_hash, folded

PUNCTUATION = ".,;:!?…。\"'`“”‘’«»()[]"
"""Marks that are folded away at the edges of words. Within words and numbers they stay: 1.5 is not 15, −5 not 5."""


def question_folded(text: str) -> str:
    """A text as copies are compared: NFKC, case and white space folded, words without punctuation around them."""
    words = folded(unicodedata.normalize("NFKC", text)).split()
    bare = [word.strip(PUNCTUATION) if any(map(str.isalpha, word)) else word for word in words]
    if bare and not any(map(str.isalpha, bare[-1])):
        bare[-1] = bare[-1].rstrip("?.") or bare[-1]
    return " ".join(word for word in bare if word) or folded(text)


def keys_of(items: Sequence[DataItem]) -> list[Hashable]:
    """What each item asks, folded: equal for copies."""
    differ = prompts_differ(items)
    return [_key(item, differ=differ) for item in items]


def _key(item: DataItem, *, differ: bool) -> Hashable:
    if item.image_file is not None:
        return file_hash(item.image_file)
    question = question_folded(item.measured_texts(prompts_differ=differ)[0])
    return question, tuple(sorted(question_folded(choice) for choice in getattr(item, "choices", ())))


def with_copies_grouped(items: Sequence[DataItem]) -> Sequence[DataItem]:
    """The items, copies of one question in one group; the same items where there are no copies.

    Where some have a group already, an item belongs with all of its group and with all of its copies, and so on: the
    groups are the connected parts, named by the group of their first item that has one.
    """
    keys = keys_of(items)
    if len(set(keys)) == len(keys):
        return items
    parent = list(range(len(items)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[Hashable, int] = {}
    for place, (key, item) in enumerate(zip(keys, items, strict=True)):
        marks = [("question", key), *([("group", item.group)] if item.group is not None else [])]
        for mark in marks:
            one, other = root(first.setdefault(mark, place)), root(place)
            parent[max(one, other)] = min(one, other)
    sizes = Counter(root(place) for place in range(len(items)))
    names: dict[int, str] = {}
    for place, item in enumerate(items):
        if item.group is not None:
            names.setdefault(root(place), item.group)
    return [
        item if sizes[top] == 1 else _named(item, names.get(top, f"copies of row {top + 1}"))
        for item, top in ((item, root(place)) for place, item in enumerate(items))
    ]


def _named(item: DataItem, group: str) -> DataItem:
    return item if item.group == group else item.model_copy(update={"group": group})


def copies_sentence(name: str, items: Sequence[DataItem], thing: str = "question") -> str:
    """A sentence on the copies among items; empty where there are none.

    Args:
        name: of the data set.
        items: its items.
        thing: what each of them is.
    """
    distinct = len(set(keys_of(items)))
    if distinct == len(items):
        return ""
    plural = "" if distinct == 1 else "s"
    return f"{name}: {len(items)} rows are {distinct} distinct {thing}{plural}; copies count as one unit."


@without_collector()
def repeats_sentence(items: Sequence[DataItem], name: str = "train") -> str:
    """A sentence on training rows that stand there more than once; empty where none does.

    Args:
        items: the rows.
        name: of what they are.
    """
    distinct = len({_trained(item) for item in items})
    if distinct == len(items):
        return ""
    return (
        f"{name}: {len(items)} rows are {distinct} distinct row{'' if distinct == 1 else 's'}: {len(items) - distinct} "
        "repeat another and are learned as often as they stand there."
    )


def _trained(item: DataItem) -> Hashable:
    if item.image_file is not None:
        return file_hash(item.image_file)
    return hash((folded(" ".join(item.texts)), getattr(item, "label", None) if item.is_labelled else None))
