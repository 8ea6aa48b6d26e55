"""Image files as arrays: decoded as a viewer shows them, corrupted where the item says so, refused where broken."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from retain.data.augmentation import View, augmented
from retain.data.corruptions import SMALLEST_PIXELS, corrupt
from retain.data.item import DataItem
from retain.data.item_types import LabelledImage
from retain.data.pixels import Pixels, as_shown
from retain.errors import InputError

SHOWN_IMAGES = 10

MOST_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded: Pillow's own limit, a quarter of a gigabyte of RGB. A file of some
kilobytes can state far more."""

DECODED_PIXELS = 400_000_000
"""Pixels that are decoded to find broken files before a run, at most: some seconds, about 8,000 images of 224 × 224."""


def read_image(item: LabelledImage | View) -> Pixels:
    """An image as uint8 (height, width, 3), as a viewer shows it, corrupted or augmented where the item says so.

    Raises:
        InputError: the file is no image, or is cut off, too large or too small.
    """
    if isinstance(item, View):
        return augmented(read_image(item.item), item.kinds, np.random.default_rng(item.seed))
    array = decoded(item.image)
    if item.corruption is None:
        return array
    kind, severity, seed = item.corruption
    if problem := _too_small(array.shape[:2], item):
        raise InputError(problem)
    return corrupt(array, kind, severity, np.random.default_rng(_seed(seed, item, kind, severity)))


def decoded(path: str | Path) -> Pixels:
    """The image in a file as uint8 (height, width, 3): its first frame, upright, on white where it is transparent.

    Raises:
        InputError: the file is no image, or is cut off or too large.
    """
    try:
        with _opened(path) as image:
            return as_shown(image)
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever they run into in a damaged file
        raise InputError(f"{path}: cannot be read as an image ({_reason(error)}).") from error


def decoded_roughly(path: str | Path, size: int) -> Pixels | None:
    """As `decoded`, with fewer pixels where the format allows (JPEG does), but `size` a side at least.

    None for an image that cannot be read, which `broken_images` tells of.
    """
    try:
        with _opened(path) as image:
            image.draft(None, (size, size))
            return as_shown(image)
    except Exception:  # noqa: BLE001 -- as in `decoded`
        return None


def broken_images(items: Sequence[DataItem]) -> list[str]:
    """A sentence for each image that a run could not read, ten at most.

    Every file is opened. What all hold is decoded up to `DECODED_PIXELS`; where they hold more, so many evenly spread
    ones are (`decoded_share` says how many).
    """
    found: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for item in items:
        path = item.image_file
        if path is None or path in found:
            continue
        try:
            if path not in sizes:
                sizes[path] = image_size(path)
        except InputError as error:
            found[path] = str(error)
            continue
        if problem := _too_small(sizes[path], item):
            found[path] = problem
    for path in spread(sizes):
        if path not in found:
            try:
                decoded(path)
            except InputError as error:
                found[path] = str(error)
    told = list(found.values())
    more = [f"and {len(told) - SHOWN_IMAGES} more images cannot be read."] if len(told) > SHOWN_IMAGES else []
    return told[:SHOWN_IMAGES] + more


def decoded_share(items: Sequence[DataItem]) -> list[str]:
    """A note where `broken_images` decodes some of the images only; the others are decoded when they are needed."""
    paths = dict.fromkeys(path for item in items if (path := item.image_file) is not None)
    sizes = {path: image_size(path) for path in paths}
    few = len(spread(sizes))
    if few == len(sizes):
        return []
    millions = DECODED_PIXELS // 1_000_000
    note = (
        f"images: {few} of {len(sizes)}, evenly spread, were decoded whole (about {millions} million pixels); the "
        "others were only opened, so one that is cut off stops the run that comes to it."
    )
    return [note]


def image_size(path: str) -> tuple[int, int]:
    """Height and width of an image, from its file's header.

    Raises:
        InputError: the file is no image, or states too many pixels, or none.
    """
    try:
        with _opened(path) as image:
            return image.height, image.width
    except InputError:
        raise
    except Exception as error:  # as in `decoded`
        raise InputError(f"{path}: cannot be read as an image ({_reason(error)}).") from error


def _opened(path: str | Path) -> Image.Image:
    """Open a file by its header.

    Raises:
        InputError: it states more pixels than are decoded, or none.
    """
    with warnings.catch_warnings():  # the limit below takes the place of Pillow's warning
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(path)
        except Image.DecompressionBombError as error:
            raise InputError(_too_large(path, str(error))) from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        image.close()
        raise InputError(_too_large(path, f"{width} × {height} pixels"))
    if not width * height:
        image.close()
        raise InputError(f"{path}: cannot be read as an image (it has no pixels).")
    return image


def _too_large(path: str | Path, size: str) -> str:
    return (
        f"{path}: is too large to decode ({size}; at most {MOST_PIXELS / 1e6:.0f} million pixels, as 9,459 × 9,459); "
        "scale it down, or leave it out."
    )


def _too_small(size: tuple[int, int], item: DataItem) -> str | None:
    """A sentence on an image that is to be corrupted and has too few pixels for that."""
    if getattr(item, "corruption", None) is None or min(size) >= SMALLEST_PIXELS:
        return None
    return (
        f"{item.image_file}: has {size[1]} × {size[0]} pixels, too few to corrupt; at least {SMALLEST_PIXELS} × "
        f"{SMALLEST_PIXELS} are needed."
    )


def spread(sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """The images, or about as many evenly spread ones as hold `DECODED_PIXELS` together; at least one.

    Args:
        sizes: height and width by path.
    """
    paths, total = list(sizes), sum(height * width for height, width in sizes.values())
    if total <= DECODED_PIXELS:
        return paths
    few = max(1, len(paths) * DECODED_PIXELS // total)
    return [paths[place * len(paths) // few] for place in range(few)]


def _reason(error: Exception) -> str:
    """Pillow's reason in one line; the kind of error where it gives none."""
    return " ".join(str(error).split()) or type(error).__name__


def _seed(seed: int, item: LabelledImage, kind: str, severity: int) -> list[int]:
    """The same image is corrupted in the same way wherever it lies and in whichever order it is read."""
    key = f"{item.group or item.image.rsplit('/', 1)[-1]} {kind}".encode()
    return [seed, severity, *key]
