"""Sources as a recipe writes them: what of one is a path, a part, a data set id, and which columns are renamed.

PATH[:PART][::NEW=OLD,NEW=OLD]       a file or a folder, one of its parts, columns renamed
OWNER/NAME[:CONFIGURATION][:SPLIT]   a data set id
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retain.data.file_content import bare_stem, bare_suffix
from retain.records.paths import PathError, expanded
from retain.records.renamed_columns import RENAMED, parse_columns

Numbered = tuple[str, Any]
"""The place of a row, for messages, and the row."""

DATA_SUFFIXES = (
    *(".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".tab", ".txt", ".md", ".parquet", ".arrow", ".feather"),
    *(".xlsx", ".xls", ".ods", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz", ".pkl", ".pickle", ".npy", ".npz"),
    *(".h5", ".hdf5", ".sqlite", ".db", ".pdf", ".html", ".xml", ".log", ".dat", ".data", ".orc", ".avro"),
)
"""Endings of files that hold data; a name that ends so is a path, and no data set id."""

NEAR_NAMES = 3


@dataclass(frozen=True)
class Source:
    """A source, taken apart.

    Attributes:
        text: as it was written, without the renamed columns.
        path: the file or folder; None for a data set id.
        part: the split or the part of it that is named.
        columns: old names of columns by their new ones.
    """

    text: str
    path: Path | None
    part: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def parse_source(text: str) -> Source:
    """Take a source apart.

    Raises:
        ValueError: as a clause, its columns are no NEW=OLD.
    """
    place, _, renamed = text.partition(RENAMED)
    columns = parse_columns(renamed) if renamed else {}
    whole = expanded(place)
    if _exists(whole):
        return Source(place, whole, None, columns)
    before, colon, part = place.rpartition(":")
    path = expanded(before)
    if colon and (_exists(path) or bare_suffix(before) in DATA_SUFFIXES):
        return Source(place, path, part, columns)
    return Source(place, whole if looks_like_path(place) else None, None, columns)


def looks_like_path(text: str) -> bool:
    """True for what is meant as a path, whether it is there or not.

    It begins or ends as a path, has an ending of data, or lies in a folder that is there. A data set id is OWNER/NAME.
    """
    try:
        path = expanded(text)
    except PathError:
        return True
    if (
        text.startswith((".", "/", "~"))
        or text.endswith("/")
        or bare_suffix(text) in DATA_SUFFIXES
        or path.suffix.lower() == ".gz"
    ):
        return True
    return (len(path.parts) > 2 and ":" not in text) or (len(path.parts) > 1 and _exists(path.parent))


def missing_sentence(path: Path) -> str:
    """That there is no such file, and which are near."""
    name, mark, source = str(path).partition("=")
    if mark and _exists(Path(source)):
        return f"there is no suite {name!r} that {source} could be a copy for; a name of your own is {name}:={source}"
    folder = path.parent
    if not _exists(folder):
        return f"there is no folder {folder}"
    names = [inner.name for inner in folder.iterdir()]
    close = difflib.get_close_matches(path.name, names, NEAR_NAMES, 0.6)
    same = [name for name in names if bare_stem(name).lower() == bare_stem(path.name).lower() and name not in close]
    near = [*close, *same][:NEAR_NAMES]
    hint = f" (did you mean {' or '.join(str(folder / name) for name in near)}?)" if near else ""
    return f"there is no such file or folder{hint}"


def name_of_source(text: str) -> str:
    """The name of a source: its file's without endings, its folder's, or the data set's without its owner."""
    try:
        source = parse_source(text)
    except ValueError:
        source = Source(text, None)
    if source.path is None:
        return source.text.split(":", maxsplit=1)[0].rsplit("/", 1)[-1]
    return bare_stem(source.path.name) or source.path.resolve().name


def is_plain_data(text: str) -> bool:
    """True for what is no bare word: a path, or a data set id with an owner or a split."""
    place = text.partition(RENAMED)[0]
    return bool(re.search(r"[/:]", place)) or looks_like_path(place) or _exists(expanded(place))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long or holds a NUL character
        return False
