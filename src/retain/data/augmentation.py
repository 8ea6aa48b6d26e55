"""Augmentation: each epoch sees another part of a training image, or its mirror image, decided by a seed alone.

What is seen depends on the seed, the epoch and the row, and on no state, so a run that goes on sees what it would have
seen, and batches may be made ahead in any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from retain.data.item_types import LabelledImage
from retain.data.pixels import Pixels

AUGMENTATIONS = ("crop", "flip")
"""Kinds; what each does says `augmented`."""

AREA, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
"""Of a crop: share of the area, width to height, and how often a part is drawn until one fits."""


@dataclass(frozen=True)
class View:
    """A labelled image as one epoch sees it.

    Attributes:
        item: the image.
        kinds: how it is augmented.
        seed: the run's seed, the epoch and the row.
    """

    item: LabelledImage
    kinds: tuple[str, ...]
    seed: tuple[int, int, int]

    @property
    def label(self) -> str:
        """The class."""
        return self.item.label


def augmentation_problems(kinds: Sequence[str]) -> list[str]:
    """A sentence for each kind that there is not."""
    known = " or ".join(AUGMENTATIONS)
    return [f"augment: expected {known} (found {kind!r})." for kind in kinds if kind not in AUGMENTATIONS]


class Views(Sequence[View]):
    """Training images, each epoch otherwise; whoever trains says which epoch it is."""

    def __init__(self, items: Sequence[LabelledImage], kinds: Sequence[str], seed: int) -> None:
        self._items, self._kinds, self._seed, self._epoch = items, tuple(kinds), seed, 0

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        """The number of images."""
        return len(self._items)

    def __getitem__(self, index: int) -> View:  # type: ignore[override]  # no slices
        """An image as this epoch sees it."""
        return View(self._items[index], self._kinds, (self._seed, self._epoch, index % len(self._items)))


def augmented(image: Pixels, kinds: Sequence[str], rng: np.random.Generator) -> Pixels:
    """An image as it is seen once, as torchvision's RandomResizedCrop and RandomHorizontalFlip do it.

    Args:
        image: uint8 (height, width, 3).
        kinds: crop: a random part, scaled to the size of the whole; flip: mirrored in half of the cases.
        rng: decides.

    Returns:
        uint8 (height, width, 3).

    Examples:
        >>> augmented(np.zeros((8, 6, 3), np.uint8), ("crop", "flip"), np.random.default_rng(0)).shape
        (8, 6, 3)
    """
    seen = image
    if "crop" in kinds and (part := _part(image.shape[0], image.shape[1], rng)) is not None:
        size = (image.shape[1], image.shape[0])
        seen = np.asarray(Image.fromarray(seen).resize(size, Image.Resampling.BILINEAR, box=part))
    if "flip" in kinds and rng.random() < 0.5:
        seen = np.ascontiguousarray(seen[:, ::-1])
    return seen


def _part(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    """A random part (left, top, right, bottom); where none fits the largest in the middle, None for the whole."""
    for _ in range(TRIES):
        area = height * width * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
            return left, top, left + wide, top + high
    wide, high = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    left, top = (width - wide) // 2, (height - high) // 2
    return None if (wide, high) == (width, height) else (left, top, left + max(wide, 1), top + max(high, 1))
