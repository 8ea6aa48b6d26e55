"""Folders of data: files of rows and their splits, and images whose inner folders are their classes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from retain.data.file_content import bare_stem, bare_suffix

IMAGES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".avif", ".heic"),
    *(".heif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico"),
)
"""Endings of images, also of those that not every Pillow decodes: these are told, and not left out in silence."""

Part = TypeVar("Part")

_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_FAMILIES = {".ndjson": ".jsonl", ".tab": ".tsv", ".feather": ".arrow"}
_ROWS = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
_ABOUT = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "metadata.json"}
_SHARD = re.compile(r"(?:^|[-_.])(?:part[-_])?\d+(?:-of-\d+)?(?:[-_][0-9a-f]{8,})?$")


def files_by_part(folder: Path) -> dict[str, list[Path]]:
    """The files of rows in a folder and below, by split as their names tell it; shards of one part are together.

    Raises:
        ValueError: as a clause, the files are of several formats.
    """
    files = [path for path in _below(folder) if path.name.lower() not in _ABOUT and _format(path) in _ROWS]
    formats = {_format(path) for path in files}
    if ".json" in formats and len(formats) > 1:  # files about the data, as a rule
        files = [path for path in files if _format(path) != ".json"]
        formats.discard(".json")
    if len(formats) > 1:
        raise ValueError(f"it holds files of several formats ({', '.join(sorted(formats))}); name one file")
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in files:
        inner = path.relative_to(folder)
        groups[str(inner.parent), _split_of(inner)].append(path)
    names = [split for _, split in groups]
    return {
        split if names.count(split) == 1 else f"{parent}/{split}": found for (parent, split), found in groups.items()
    }


def choose(parts: Mapping[str, Part], wanted: str | None, obvious: str | None, place: str) -> Part:
    """The part that is named, else the only one, else the obvious one.

    Args:
        parts: by name.
        wanted: the part that the user named.
        obvious: the part that is meant where none is named.
        place: for the message, what the parts belong to.

    Raises:
        ValueError: as a clause, there is no such part, or several might be meant.
    """
    listed = ", ".join(parts)
    if wanted is not None:
        if wanted not in parts:
            raise ValueError(f"it has no part {wanted!r}; it holds {listed}")
        return parts[wanted]
    if len(parts) == 1:
        return next(iter(parts.values()))
    if obvious is not None and obvious in parts:
        return parts[obvious]
    raise ValueError(f"it holds several parts ({listed}); say which, as {place}:{next(iter(parts))}")


def is_image(path: Path) -> bool:
    """True for a file whose name is that of an image."""
    return path.suffix.lower() in IMAGES


def image_classes(folder: Path) -> list[tuple[str, Path]]:
    """The images in a folder of folders, each with its class, the name of the inner folder; none where it is no such.

    An image that lies deeper is of the class of the inner folder too.
    """
    inner = _inner(folder)
    if not any(is_image(path) for name in inner for path in name.iterdir() if not _is_hidden(path.name)):
        return []
    return [(name.name, path) for name in inner for path in image_files(name)]


def image_files(folder: Path) -> list[Path]:
    """The images in a folder and below."""
    return [path for path in _below(folder) if is_image(path)]


def image_parts(folder: Path) -> dict[str, Path]:
    """The inner folders that hold folders of images themselves, as train and test do."""
    return {inner.name: inner for inner in _inner(folder) if image_classes(inner)}


def text_files(folder: Path) -> Sequence[Path]:
    """The plain texts in a folder and below."""
    return [path for path in _below(folder) if bare_suffix(path.name) == ".txt"]


def _inner(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and not any(map(_is_hidden, path.relative_to(folder).parts)):
            yield path


def _is_hidden(name: str) -> bool:
    """True for what systems and programs put beside data: .DS_Store, ._photo.png, __MACOSX, .ipynb_checkpoints."""
    return name.startswith((".", "__"))


def _format(path: Path) -> str:
    suffix = bare_suffix(path.name)
    return _FAMILIES.get(suffix, suffix)


def _split_of(path: Path) -> str:
    """The split that a file belongs to by its name or its folder's, or its name without the number of a shard."""
    for part in (bare_stem(path.name), *reversed(path.parts[:-1])):
        words = re.split(r"[^a-z]+", part.lower())
        split = next((split for split, known in _SPLITS.items() if any(word in known for word in words)), None)
        if split is not None:
            return split
    return _SHARD.sub("", bare_stem(path.name)) or "train"
