"""A task for an image encoder: tell the category of an emoji, drawn in one style, then in another (`emoji-datasource`).

The task is learnt on Google's pictures and asked on both styles, of emoji that were not learnt in any style.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.fetch import NpmPackage
from retain_assets.images import on_white, put
from retain_assets.rows import write
from retain_assets.text import draw

SEED = 23
TRAIN, TEST = 100, 25  # of each category: all that remain where there are fewer than TRAIN
LEFT_OUT = {"Flags", "Component"}  # flags are told apart by reading them; components are skin colours and hair
JOINER = "200D"  # joined codes repeat another emoji as a woman, a man, or facing the other way
FOLDER = "emoji"
STYLES = ("google", "twitter")


@dataclass(frozen=True)
class Emoji:
    """An emoji as the package lists it."""

    name: str
    code: str
    category: str
    file: str

    def row(self, style: str) -> dict[str, str]:
        """As written to disk; the image's path is relative to the folder of the table."""
        return {"image": f"{style}/{self.category}/{self.name}.png", "label": self.category, "group": self.code}


def emoji(records: Iterable[dict[str, object]]) -> list[Emoji]:
    """The emoji of the eight categories that both styles have and that stand for themselves."""
    found = []
    for record in records:
        code, category = str(record["unified"]), str(record["category"])
        drawn = all(record[f"has_img_{style}"] for style in STYLES)
        if drawn and category not in LEFT_OUT and JOINER not in code.split("-"):
            label = "-".join(re.findall(r"[a-z]+", category.casefold()))
            found.append(Emoji(str(record["short_name"]), code, label, str(record["image"])))
    return found


def split(
    found: Iterable[Emoji], train: int = TRAIN, test: int = TEST, seed: int = SEED
) -> tuple[list[Emoji], list[Emoji]]:
    """Two parts without a common emoji: `test` of each category, and up to `train` of what remains.

    The categories are mixed, so that a part of a table is a fair part.
    """
    order = sorted(found, key=lambda each: (draw(seed, each.code), each.code))
    seen: dict[str, int] = {}
    parts: tuple[list[Emoji], list[Emoji]] = ([], [])
    for each in order:
        place = seen[each.category] = seen.get(each.category, 0) + 1
        if place <= test + train:
            parts[1 if place <= test else 0].append(each)
    return parts


def make(google: Path, twitter: Path, staging: Path) -> dict[str, object]:
    """Write the pictures of both styles and the tables `google-train`, `google-test` and `twitter-test`."""
    with tarfile.open(google) as archive:
        train, test = split(emoji(json.loads(_read(archive, "package/emoji.json"))))
    root = staging / FOLDER
    for style, package in zip(STYLES, (google, twitter), strict=True):
        _write_images(package, style, [*train, *test], root)
    tables = {"google-train": train, "google-test": test, "twitter-test": test}
    counts = {
        name: write(root / f"{name}.jsonl", [each.row(name.partition("-")[0]) for each in part])
        for name, part in tables.items()
    }
    return {"categories": len({each.category for each in test}), **counts}


def _write_images(package: Path, style: str, wanted: list[Emoji], root: Path) -> None:
    """One pass over the compressed archive: jumping about in it would unpack it again for every picture."""
    places = {f"package/img/{style}/64/{each.file}": each.row(style)["image"] for each in wanted}
    with tarfile.open(package, "r|gz") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name in places else None
            if content is not None:
                put(on_white(content.read()), root, places.pop(member.name))
    if places:
        raise FileNotFoundError(f"asked {package.name} for {len(places)} more pictures, such as {min(places)}")


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    content = archive.extractfile(name)
    if content is None:
        raise TypeError(f"{name} is no file")
    return content.read()


EMOJI = Asset(
    name="emoji",
    package=NpmPackage(
        "emoji-datasource-google", "16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"
    ),
    also=(
        NpmPackage(
            "emoji-datasource-twitter", "16.0.0", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877"
        ),
    ),
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source="Noto Emoji by Google and Twemoji by Twitter and others; gathered by Cal Henderson; 64 × 64, on white",
    licence="the collection MIT; Google's pictures Apache-2.0; Twitter's CC BY 4.0 (name Twitter and the contributors)",
)
