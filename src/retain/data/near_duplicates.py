"""Near-duplicates: measured items that stand in the training data almost word for word. A warning; an extra finds them.

Two texts are near-duplicates if their sets of pairs of neighbouring words have a Jaccard similarity |A ∩ B|/|A ∪ B| of
at least `NEAR`. MinHash finds candidates (Broder, "On the resemblance and containment of documents", 1997), each of
which is then compared in full. Exact copies are `contamination`, which is an error.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from retain.data.contamination import label_of, prompts_differ
from retain.data.item import DataItem
from retain.data.texts import folded, paragraphs, quoted

INSTALL = "pip install 'retain[contamination]'"
NEAR = 0.8
CANDIDATES = 0.7
"""Similarity from which texts are compared in full, so that MinHash's error loses few."""
FEWEST_PAIRS = 7
"""Texts with fewer pairs of words are alike by chance."""
PERMUTATIONS = 128


class Hit(NamedTuple):
    """How similar a training item is, and its number."""

    similarity: float
    number: int


def find_near_duplicates(
    train: Sequence[DataItem], test: Sequence[DataItem], keep: Mapping[str, Sequence[DataItem]], held_out_text: str
) -> list[str]:
    """Find data sets with items that the training data nearly repeat. Images are left out.

    Args:
        train: items that are trained on.
        test: items of the task that are measured.
        keep: items of each retention suite by its name.
        held_out_text: text on which drift is measured.

    Returns:
        One sentence for each data set with near-duplicates, with how many and the nearest of them.

    Raises:
        ImportError: datasketch is not installed.
    """
    parts = {"test": _labelled(test, differ=prompts_differ(train))}
    parts |= {f"retention suite {name!r}": _labelled(items, differ=True) for name, items in keep.items()}
    parts["held_out_text"] = [(quoted(text), (text,)) for text in paragraphs(held_out_text)]
    index = _Index()
    for name, items in parts.items():
        for place, (_, texts) in enumerate(items):
            index.add((name, place), texts)
    hits: dict[str, dict[int, Hit]] = defaultdict(dict)
    for number, item in enumerate(train, 1):
        for text in dict.fromkeys(() if item.image_file is not None else item.trained_texts):
            for (name, place), similarity in index.near(text):
                hits[name][place] = max(hits[name].get(place, Hit(0.0, 0)), Hit(similarity, number))
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


class _Index:
    """Measured texts, found by texts that resemble them."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH  # noqa: PLC0415  (an extra)

        self._places: list[Place] = []
        self._pairs: list[set[str]] = []
        self._index = MinHashLSH(threshold=CANDIDATES, num_perm=PERMUTATIONS)

    def add(self, place: Place, texts: Sequence[str]) -> None:
        """Add the texts of one item."""
        for pairs in map(_pairs, texts):
            if len(pairs) >= FEWEST_PAIRS:
                self._index.insert(len(self._places), _sketch(pairs), check_duplication=False)
                self._places.append(place)
                self._pairs.append(pairs)

    def near(self, text: str) -> Iterator[tuple[Place, float]]:
        """The items that a text is a near-duplicate of, with their similarity."""
        pairs = _pairs(text)
        if len(pairs) < FEWEST_PAIRS or not self._places:
            return
        for number in sorted(self._index.query(_sketch(pairs))):
            similarity = len(pairs & self._pairs[number]) / len(pairs | self._pairs[number])
            if similarity >= NEAR:
                yield self._places[number], similarity


def _pairs(text: str) -> set[str]:
    return {" ".join(pair) for pair in pairwise(folded(text).split())}


def _sketch(pairs: set[str]) -> object:
    from datasketch import MinHash  # noqa: PLC0415  (an extra)

    sketch = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
    sketch.update_batch([pair.encode(errors="surrogatepass") for pair in pairs])
    return sketch
