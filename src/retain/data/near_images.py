"""Near-duplicate images: measured images that the training data hold too, saved again in another way. A warning.

Two images are near-duplicates if the brightness of their 16 × 16 cells changes alike from cell to cell, to the right
and downwards: the correlation of these changes is at least `NEAR`. Saving as JPEG (down to quality 10), scaling to an
eighth, and another brightness or contrast keep it above; cut, turned or mirrored copies are not found. Images with
fewer than 16 pixels a side, or hardly any contrast, are alike by chance and left out. Exact copies are
`contamination`, which is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retain.data.images import decoded_roughly, image_size, spread
from retain.data.item import DataItem
from retain.data.texts import file_hash
from retain.errors import InputError

NEAR = 0.985
"""Of 1,797 scans of digits, 99.8 % resemble no other as much; photographs of quality 10 or an eighth of the size do."""

CELLS = 16
LEAST_CONTRAST = 8.0
"""Standard deviation of the cells' brightness, of 255."""

CHUNK = 1024
"""Training images that are compared at once."""

Changes = NDArray[np.float32]
"""(2·16·16,), of length 1."""


class Near(NamedTuple):
    """A training image, and how far a measured one resembles it."""

    similarity: float
    path: str


def find_near_images(
    train: Sequence[DataItem], test: Sequence[DataItem], keep: Mapping[str, Sequence[DataItem]]
) -> list[str]:
    """Find data sets with images that the training data hold too, saved in another way.

    Args:
        train: items that are trained on.
        test: items of the task that are measured.
        keep: items of each retention suite by its name.

    Returns:
        One sentence for each data set with near-duplicates, with how many and the nearest; where some images were not
        compared, because all would take too long, a sentence that says how many were.
    """
    parts = {"test": _paths(test)} | {f"retention suite {name!r}": _paths(items) for name, items in keep.items()}
    trained, measured = _paths(train), list(dict.fromkeys(path for paths in parts.values() for path in paths))
    if not trained or not measured:
        return []
    seen = _looked_at({*trained, *measured})
    known = {path: changes for path in seen if (changes := _changes(path)) is not None}
    nearest = _nearest([path for path in trained if path in known], [path for path in measured if path in known], known)
    found = []
    for name, paths in parts.items():
        hits = {path: nearest[path] for path in paths if path in nearest}
        if hits:
            found.append(_sentence(name, paths, hits))
    if len(seen) < (total := len({*trained, *measured})):
        found.append(f"images: {len(seen):,} of {total:,}, evenly spread, were compared for near-duplicates.")
    return found


def brightness_changes(pixels: NDArray[np.uint8]) -> Changes | None:
    """The changes of brightness from cell to cell of an image (height, width, 3); None where it has too few."""
    if min(pixels.shape[:2]) < CELLS:
        return None
    grey = Image.fromarray(pixels).convert("L").resize((CELLS + 1, CELLS + 1), Image.Resampling.BOX)
    cells = np.asarray(grey, dtype=np.float32)
    if cells.std() < LEAST_CONTRAST:
        return None
    changes = np.concatenate([np.diff(cells, axis=1)[:-1].ravel(), np.diff(cells, axis=0)[:, :-1].ravel()])
    return np.asarray(changes / np.linalg.norm(changes), dtype=np.float32)


def _changes(path: str) -> Changes | None:
    pixels = decoded_roughly(path, 4 * CELLS)
    return None if pixels is None else brightness_changes(pixels)


def _paths(items: Iterable[DataItem]) -> list[str]:
    """The images of items, each once."""
    return list(dict.fromkeys(path for item in items if (path := item.image_file) is not None))


def _looked_at(paths: Iterable[str]) -> set[str]:
    """The images that are compared: all, or evenly spread ones where all would take too long."""
    sizes = {}
    for path in sorted(paths):
        try:
            sizes[path] = image_size(path)
        except InputError:  # a problem, which `broken_images` tells of
            continue
    return set(spread(sizes)) if sizes else set()


def _nearest(trained: Sequence[str], measured: Sequence[str], known: Mapping[str, Changes]) -> dict[str, Near]:
    """The nearest training image of each measured image that has a near one."""
    if not trained or not measured:
        return {}
    sought = np.stack([known[path] for path in measured])
    best, place = np.full(len(measured), -1.0, np.float32), np.zeros(len(measured), np.int64)
    for start in range(0, len(trained), CHUNK):
        similar = np.stack([known[path] for path in trained[start : start + CHUNK]]) @ sought.T
        highest = similar.argmax(axis=0)
        values = similar[highest, np.arange(len(measured))]
        place, best = np.where(values > best, start + highest, place), np.maximum(values, best)
    near = {path: Near(float(best[i]), trained[place[i]]) for i, path in enumerate(measured) if best[i] >= NEAR}
    return {path: one for path, one in near.items() if file_hash(path) != file_hash(one.path)}


def _sentence(name: str, paths: Sequence[str], hits: Mapping[str, Near]) -> str:
    path, near = max(hits.items(), key=lambda pair: pair[1].similarity)
    return (
        f"{len(hits)} of {len(paths)} images of {name} look like training images saved in another way, for instance "
        f"{path} like {near.path}; where they are one image, remove it from one side."
    )
