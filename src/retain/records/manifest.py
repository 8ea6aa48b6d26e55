"""What retain itself wrote into a folder, by names and hashes: only that may it overwrite or delete.

`.retain.jsonl` in an output folder is a log. A line names a file, or a folder of weights with all files in it, with
size and SHA-256. It is appended before the file takes its place, so that whatever a kill leaves behind is known. A file
is retain's if its content is one that was noted under its name; everything else is the user's.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retain.errors import InputError
from retain.records.file_lock import holding_in_turn
from retain.records.reading import parse_json

log = logging.getLogger(__name__)

MANIFEST = ".retain.jsonl"
"""The log's name, in an output folder."""

LOCK = ".retain.lock"
"""The lock's name, beside it; see `retain.records.lock`."""

CARD = "README.md"
"""A model card, in a folder of weights."""

MOST_NAMED = 5
"""The most files that a refusal names."""

Digests = Mapping[str, str]
"""`size:sha256` by a file's name in its folder."""


@dataclass
class Known:
    """The content of a log.

    Attributes:
        files: the contents that were noted under a name, the last one last, by the name in the folder.
        trees: for each folder of weights the sets of files that it was written with, the last one last.
    """

    files: dict[str, list[str]] = field(default_factory=dict)
    trees: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Known:
        """Read the log of a folder; lines that were cut off or are damaged are passed over."""
        known = cls()
        for line in (root / MANIFEST).read_bytes().splitlines():
            try:
                entry = parse_json(line, MANIFEST)
            except InputError:
                continue
            if not isinstance(entry, dict) or not isinstance(name := entry.get("name"), str):
                continue
            if isinstance(digest := entry.get("digest"), str):
                known.files.setdefault(name, []).append(digest)
            if isinstance(tree := entry.get("files"), dict) and all(isinstance(value, str) for value in tree.values()):
                known.trees.setdefault(name, []).append(tree)
                for inner, digest in tree.items():
                    known.files.setdefault(inner if name == "." else f"{name}/{inner}", []).append(digest)
        return known


def digest_of(content: bytes) -> str:
    """Size and SHA-256 of some bytes."""
    return f"{len(content)}:{hashlib.sha256(content).hexdigest()}"


def file_digest(path: Path) -> str:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        return f"{file.tell()}:{found}"


def tree_digests(folder: Path) -> dict[str, str]:
    """The digests of all files under a folder, by their names in it; logs and locks are left out."""
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {MANIFEST, LOCK}
    }


def begin(folder: Path) -> None:
    """Make a folder one whose files are noted."""
    if not (folder / MANIFEST).is_file():
        _append(folder, [])


def log_above(path: Path) -> Path | None:
    """The nearest folder above a path, or the path itself, that has a log; None where there is none."""
    return next(_roots(path), None)


def note_file(path: Path, digest: str) -> None:
    """Note a file that is about to be written. Without a log above it nothing is noted."""
    if (root := log_above(path.parent)) is not None:
        _append(root, [{"name": _name(path, root), "digest": digest}])


def note_tree(folder: Path, files: Digests) -> None:
    """Note a folder that is about to take its place, with all files in it; in the log above it or in its own."""
    if (root := log_above(folder.parent) or log_above(folder)) is not None:
        _append(root, [{"name": _name(folder, root), "files": dict(files)}])


def is_tree(folder: Path) -> bool:
    """True if retain wrote a folder as one, weights for instance; not where it wrote files into it one by one."""
    return any(_name(folder, root) in Known.read(root).trees for root in _roots(folder))


def is_own(path: Path) -> bool:
    """True if there is something at a path and retain wrote all of it."""
    return (path.exists() or path.is_symlink()) and not foreign(path)


def foreign(path: Path) -> list[Path]:
    """What lies at or under a path and is not retain's: other files, files that were changed, links."""
    if not path.exists() and not path.is_symlink():
        return []
    inside = path.is_dir() and not path.is_symlink()
    files = (
        [inner for inner in sorted(path.rglob("*")) if inner.is_symlink() or not inner.is_dir()] if inside else [path]
    )
    logs = {
        root: Known.read(root) for root in {*_roots(path), *(file.parent for file in files if file.name == MANIFEST)}
    }
    return [file for file in files if file.name not in {MANIFEST, LOCK} and not _known(file, logs)]


def changed(path: Path, *, sizes_only: bool = False) -> list[str]:
    """Reasons why what lies at a path is not what retain wrote there; none where no log tells of it.

    Args:
        path: a file; or a folder of weights, which must be one that was written, in full. Files beside these are left
            alone.
        sizes_only: looks for missing files and other sizes of the files of a folder, and reads none of them.
    """
    for root in _roots(path):
        known, name = Known.read(root), _name(path, root)
        if trees := known.trees.get(name):
            found = [_unlike(path, tree, sizes_only=sizes_only) for tree in reversed(trees)]
            return [] if not all(found) else found[0]
        if name in known.files:
            same = path.is_file() and file_digest(path) in known.files[name]
            return [] if same else [f"{path} is not what retain wrote there: it was changed or damaged since."]
    return []


def last_written(path: Path) -> str | None:
    """The digest of what retain wrote last under a name, whatever lies there now; None where no log tells of it."""
    noted = (Known.read(root).files.get(_name(path, root)) for root in _roots(path.parent))
    return next((digests[-1] for digests in noted if digests), None)


def is_noted(path: Path) -> bool:
    """True if a log tells of a file of this name, or there is no log that could."""
    return log_above(path.parent) is None or last_written(path) is not None


def check_unchanged(path: Path) -> None:
    """Refuse a file or folder of retain's that is not as retain wrote it.

    Raises:
        InputError: it was changed or damaged since, or a part of it is missing.
    """
    if problems := changed(path):
        raise InputError(
            f"{problems[0]} Put back the original; or, if you changed it on purpose, use a copy of it in a folder of "
            "its own."
        )


def refusal(places: Iterable[Path]) -> list[str]:
    """A sentence for what lies at some places, would be overwritten or removed, and is not retain's."""
    found = [path for place in places for path in foreign(place)]
    if not found:
        return []
    shown = ", ".join(map(str, found[:MOST_NAMED])) + (
        f" and {len(found) - MOST_NAMED} more" if found[MOST_NAMED:] else ""
    )
    one = len(found) == 1
    names = {root: Known.read(root).files for path in found for root in _roots(path)}
    edited = all(
        any(_name(path, root) in files for root, files in names.items() if _within(path, root)) for path in found
    )
    what = (
        f"{'was' if one else 'were'} changed since retain wrote {'it' if one else 'them'}"
        if edited
        else f"{'is' if one else 'are'} not retain's"
    )
    cure = f"move {'it' if one else 'them'} away, or give another --output"
    return [f"output: {shown} {what} and would be overwritten or removed; {cure}."]


def ensure_own(path: Path) -> None:
    """Refuse to overwrite or remove what is not retain's, in a folder that has a log.

    Raises:
        InputError: it is not retain's; nothing was changed.
    """
    if log_above(path) is not None and (problems := refusal([path])):
        raise InputError(problems)


def remove(path: Path) -> None:
    """Remove a file or folder that retain wrote; nothing happens where there is none.

    Raises:
        InputError: some of it is not retain's; nothing was removed.
    """
    if not path.exists() and not path.is_symlink():
        return
    ensure_own(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def move(source: Path, target: Path) -> None:
    """Rename a folder that retain wrote; what lies at the target is removed first.

    Raises:
        InputError: one of them is not retain's; nothing was changed.
    """
    ensure_own(source)
    remove(target)
    note_tree(target, tree_digests(source))
    source.rename(target)
    sync(target.parent)


def set_aside(path: Path, why: str) -> None:
    """Keep a file that cannot be used as `NAME.damaged`, so that it can be made anew, and say so in the log.

    Args:
        path: the file.
        why: what is wrong with it.
    """
    kept = path.with_name(f"{path.name}.damaged")
    number = itertools.count(2)
    while kept.exists() or kept.is_symlink():
        kept = path.with_name(f"{path.name}.damaged-{next(number)}")
    path.rename(kept)
    log.warning("%s It is made anew; the old one was kept as %s.", why, kept.name)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, outlast a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _append(root: Path, entries: list[dict[str, Any]]) -> None:
    """Append lines; after one that was cut off, on a line of their own."""
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    log_file = root / MANIFEST
    # in turn, since on storage that hosts share two that append at once can overwrite one another's lines
    with holding_in_turn(root / ".retain-log.lock", briefly=True), log_file.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        if end and entries:
            file.seek(end - 1)
            text = text if file.read(1) == b"\n" else "\n" + text
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _roots(path: Path) -> Iterator[Path]:
    """The folders with a log, from a path upwards."""
    here = path.absolute()
    yield from (folder for folder in (here, *here.parents) if (folder / MANIFEST).is_file())


def _name(path: Path, root: Path) -> str:
    return Path(os.path.normpath(path.absolute())).relative_to(os.path.normpath(root.absolute())).as_posix()


def _within(path: Path, root: Path) -> bool:
    return Path(os.path.normpath(path.absolute())).is_relative_to(os.path.normpath(root.absolute()))


def _known(file: Path, logs: Mapping[Path, Known]) -> bool:
    """True if one of the logs knows a file's content under its name."""
    if file.is_symlink() or not file.is_file():
        return False
    noted = [known.files.get(_name(file, root), []) for root, known in logs.items() if _within(file, root)]
    return any(noted) and file_digest(file) in set().union(*noted)


def _unlike(folder: Path, tree: Digests, *, sizes_only: bool) -> list[str]:
    """How a folder differs from the files that it was written with."""
    for name, digest in tree.items():
        path = folder / name
        if path.name == CARD:  # for people, who may well have written on
            continue
        if not path.is_file():
            return [f"{path} is missing, which retain wrote there."]
        same = str(path.stat().st_size) == digest.partition(":")[0] and (sizes_only or file_digest(path) == digest)
        if not same:
            return [f"{path} is not what retain wrote there: it was changed or damaged since."]
    return []
