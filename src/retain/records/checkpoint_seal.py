"""The seal of a checkpoint: the hashes of all its files, written last. Training goes on from whole ones only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from retain.errors import InputError
from retain.records.files import is_bookkeeping, remove_if_empty, write_text
from retain.records.manifest import changed, file_digest, is_noted, log, sync, tree_digests
from retain.records.reading import read_json_mapping

SEAL = "retain_checkpoint.json"
"""Beside the files of a checkpoint."""

SCHEMA = "retain.checkpoint/1"

STATES = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.index.json", "trainer_state.json", "adapter_config.json")
"""Files that a training goes on from."""

OTHERS = ("config.json", "generation_config.json", "README.md", "retain_*", "tokenizer*", "special_tokens_map.json")
"""Other files that are written into a checkpoint."""

_FOLDER = "checkpoint-*"


def seal(folder: Path, before: Iterable[str] = ()) -> None:
    """Seal a checkpoint whose files are all there.

    Args:
        folder: the checkpoint.
        before: names of files that lay there before it was written, which are not a part of it.
    """
    others = {SEAL, *(name for name in before if not _is_one_of(folder / name, STATES))}
    files = {name: digest for name, digest in tree_digests(folder).items() if name not in others}
    for name in files:
        sync(folder / name)
    sync(folder)
    write_text(folder / SEAL, json.dumps({"schema": SCHEMA, "files": files}, indent=1) + "\n")


def flaw(folder: Path) -> str | None:
    """The reason why a checkpoint cannot be gone on from, or None where it is whole."""
    path = folder / SEAL
    if not path.is_file():
        return "it was cut off while it was written"
    files = _sealed(path)
    if not files or changed(path) or not is_noted(path):
        return f"its {SEAL} is damaged, or not the one that was written there"
    for name, digest in files.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if file_digest(folder / name) != digest:
            return f"{name} was changed or damaged since"
    extra = [path.name for path in folder.iterdir() if path.is_file() and _is_one_of(path, STATES)]
    return next((f"{name} was not there when it was written" for name in extra if name not in files), None)


def _sealed(path: Path) -> dict[str, str]:
    """The digests in a seal; none where it is damaged."""
    try:
        found = read_json_mapping(path)
    except InputError:
        return {}
    files = found.get("files")
    return files if found.get("schema") == SCHEMA and isinstance(files, dict) else {}


def last_whole(folder: Path) -> Path | None:
    """The last whole checkpoint; others are told of in the log if they were whole once, and removed if they never were.

    Args:
        folder: of the checkpoints.
    """
    for checkpoint in reversed(_checkpoints(folder)):
        reason = flaw(checkpoint)
        if reason is None:
            return checkpoint
        if (checkpoint / SEAL).exists():
            log.warning(
                "%s is not used (%s); training goes on from the one before, or begins anew.", checkpoint, reason
            )
        remove_checkpoint(checkpoint)
    return None


def remove_checkpoints(folder: Path, most: int = 0) -> None:
    """Remove all checkpoints but the last ones, and the folder where it is empty then. Files of others stay.

    Args:
        folder: of the checkpoints.
        most: how many stay.
    """
    found = _checkpoints(folder)
    for checkpoint in found[: max(0, len(found) - most)]:
        remove_checkpoint(checkpoint)
    remove_if_empty(folder)


def remove_checkpoint(folder: Path) -> None:
    """Remove the files of a checkpoint, its seal first, and the folder if nothing else lies there."""
    if folder.is_symlink() or not folder.is_dir():
        return
    (folder / SEAL).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_file() and (_is_one_of(path, (*STATES, *OTHERS)) or is_bookkeeping(path)):
            path.unlink()
    remove_if_empty(folder)


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder by their steps."""
    return sorted(_numbered(folder), key=lambda path: int(path.name.rpartition("-")[2]))


def _numbered(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.glob(_FOLDER) if path.name.rpartition("-")[2].isdecimal())


def _is_one_of(path: Path, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in patterns)
