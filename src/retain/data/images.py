"""Image files as arrays: decoded, laid on white, corrupted where the item says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from retain.data.corruptions import corrupt
from retain.data.item import DataItem
from retain.data.item_types import LabelledImage
from retain.errors import InputError

SHOWN_IMAGES = 10


def read_image(item: LabelledImage) -> NDArray[np.uint8]:
    """An image as uint8 (height, width, 3), on white where it is transparent, corrupted where the item says so.

    Raises:
        InputError: the file is no image.
    """
    try:
        with Image.open(item.image) as image:
            flat = image.convert("RGBA") if image.mode in ("RGBA", "LA", "P", "PA") else image.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise InputError(f"{item.image}: cannot be read as an image ({error}).") from error
    if flat.mode == "RGBA":
        flat = Image.alpha_composite(Image.new("RGBA", flat.size, "white"), flat).convert("RGB")
    array = np.asarray(flat, dtype=np.uint8)
    if item.corruption is None:
        return array
    kind, severity, seed = item.corruption
    return corrupt(array, kind, severity, np.random.default_rng(_seed(seed, item, kind, severity)))


def broken_images(items: Sequence[DataItem]) -> list[str]:
    """A sentence for each image whose file cannot be opened as one, ten at most; only the header is read."""
    found = []
    for path in dict.fromkeys(path for item in items if (path := item.image_file) is not None):
        try:
            with Image.open(path):
                pass
        except (OSError, UnidentifiedImageError, ValueError) as error:
            found.append(f"{path}: cannot be read as an image ({error}).")
    more = [f"and {len(found) - SHOWN_IMAGES} more images cannot be read."] if len(found) > SHOWN_IMAGES else []
    return found[:SHOWN_IMAGES] + more


def _seed(seed: int, item: LabelledImage, kind: str, severity: int) -> list[int]:
    """The same image is corrupted in the same way wherever it lies and in whichever order it is read."""
    key = f"{item.group or item.image.rsplit('/', 1)[-1]} {kind}".encode()
    return [seed, severity, *key]
