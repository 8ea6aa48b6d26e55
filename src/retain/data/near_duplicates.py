"""Near-duplicates: measured items that stand in the training data almost word for word. A warning.

Two texts are near-duplicates if their sets of pairs of neighbouring words have a Jaccard similarity |A ∩ B|/|A ∪ B| of
at least `NEAR`. All are found, and few are looked at in vain: sorted from the rarest pair to the commonest, two
such sets share one of their first |A| − ⌈NEAR·|A|⌉ + 1 pairs (prefix filtering; Chaudhuri, Ganti and Kaushik, "A
primitive operator for similarity joins in data cleaning", ICDE 2006), so only texts that do are compared in full. Exact
copies are `contamination`, which is an error.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from retain.data.collector import without_collector
from retain.data.contamination import label_of, prompts_differ
from retain.data.item import DataItem
from retain.data.texts import paragraphs, quoted, words_of

NEAR = 0.8
FEWEST_PAIRS = 7
"""Texts with fewer pairs of words are alike by chance."""


class Hit(NamedTuple):
    """How similar a training item is, and its number."""

    similarity: float
    number: int


@without_collector()
def find_near_duplicates(
    train: Sequence[DataItem],
    test: Sequence[DataItem],
    keep: Mapping[str, Sequence[DataItem]],
    held_out_text: str,
    numbers: Sequence[int] | None = None,
) -> list[str]:
    """Find data sets with items that the training data nearly repeat. Images are left out.

    Args:
        train: items that are trained on.
        test: items of the task that are measured.
        keep: items of each retention suite by its name.
        held_out_text: text on which drift is measured.
        numbers: of the training items, from 0, where they are some of more.

    Returns:
        One sentence for each data set with near-duplicates, with how many and the nearest of them.
    """
    parts = {"test": _labelled(test, differ=prompts_differ(train))}
    parts |= {f"retention suite {name!r}": _labelled(items, differ=True) for name, items in keep.items()}
    parts["held_out_text"] = [(quoted(text), (text,)) for text in paragraphs(held_out_text)]
    index = _Index(
        ((name, place), text)
        for name, items in parts.items()
        for place, (_, texts) in enumerate(items)
        for text in texts
    )
    hits: dict[str, dict[int, Hit]] = defaultdict(dict)
    for number, item in zip(range(len(train)) if numbers is None else numbers, train, strict=True):
        for words in words_of(() if item.image_file is not None else item.trained_texts):
            if index.lacks(words):
                continue
            for (name, place), similarity in index.near(words):
                hits[name][place] = max(hits[name].get(place, Hit(0.0, 0)), Hit(similarity, number + 1))
    return [_sentence(name, parts[name], hits[name]) for name in parts if hits[name]]


def _labelled(items: Sequence[DataItem], *, differ: bool) -> list[tuple[str, Sequence[str]]]:
    """Each item's label for messages, and the texts that must not have been trained on; none of an image."""
    labelled: list[tuple[str, Sequence[str]]] = []
    for number, item in enumerate(items, 1):
        texts = item.measured_texts(prompts_differ=differ)
        labelled.append((label_of(number, item, texts[0]), () if item.image_file is not None else texts))
    return labelled


def _sentence(name: str, items: Sequence[tuple[str, Sequence[str]]], hits: Mapping[int, Hit]) -> str:
    place, hit = max(hits.items(), key=lambda pair: pair[1].similarity)
    return (
        f"{len(hits)} of {len(items)} items of {name} nearly repeat training items, for instance {items[place][0]} the "
        f"training item {hit.number} ({hit.similarity:.0%} of their word pairs are the same); where they are one item, "
        "remove it from one side."
    )


Place = tuple[str, int]
"""A data set and the place of an item in it."""


Pairs = set[tuple[str, str]]


class _Index:
    """Measured texts, found by texts that resemble them."""

    def __init__(self, texts: Iterator[tuple[Place, str]]) -> None:
        marked = ((place, _pairs(words_of([text])[0])) for place, text in texts)
        self._texts = [(place, pairs) for place, pairs in marked if pairs]
        self._frequency = Counter(pair for _, pairs in self._texts for pair in pairs)
        self._known = set(self._frequency)
        smallest = min((len(pairs) for _, pairs in self._texts), default=math.inf)
        self._fewest = max(FEWEST_PAIRS, NEAR * smallest - 1e-9)
        self._having: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, (_, pairs) in enumerate(self._texts):
            for pair in self._first(pairs, _prefix(len(pairs))):
                self._having[pair].append(number)

    def near(self, words: Sequence[str]) -> Iterator[tuple[Place, float]]:
        """The items that a text of these words is a near-duplicate of, with their similarity."""
        pairs = _pairs(words)
        known = pairs & self._known
        missing = len(pairs) - len(known)
        if not pairs or missing >= _prefix(len(pairs)):
            return
        shared = self._first(known, _prefix(len(pairs)) - missing)
        for number in sorted({number for pair in shared for number in self._having.get(pair, ())}):
            place, other = self._texts[number]
            similarity = len(pairs & other) / len(pairs | other)
            if similarity >= NEAR:
                yield place, similarity

    def lacks(self, words: Sequence[str]) -> bool:
        """True where a text of these words is surely no near-duplicate: it is too short, or too few pairs are known.

        Every word but the first ends a pair, so that a text has at least one pair fewer than it has different words.
        """
        if len(words) <= self._fewest:
            return True
        return len(self._known.intersection(pairwise(words))) < NEAR * (len(set(words)) - 1) - 1e-9

    def _first(self, pairs: Pairs, count: int) -> list[tuple[str, str]]:
        """The rarest pairs, in an order that is the same for all texts."""
        return sorted(pairs, key=lambda pair: (self._frequency[pair], pair))[:count]


def _prefix(pairs: int) -> int:
    """How many of a text's rarest pairs a near-duplicate cannot lack all of."""
    return pairs - math.ceil(NEAR * pairs) + 1


def _pairs(words: Sequence[str]) -> Pairs:
    """The pairs of neighbouring words; none of a text with too few."""
    pairs = set(pairwise(words)) if len(words) > FEWEST_PAIRS else set()
    return pairs if len(pairs) >= FEWEST_PAIRS else set()
