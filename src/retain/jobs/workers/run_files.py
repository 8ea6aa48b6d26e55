"""The files of a run by name and bytes, for workers that do not see the command's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from retain.errors import InputError
from retain.records.checkpoint_seal import SEAL
from retain.records.files import is_bookkeeping, new_folder, write_bytes
from retain.records.lock import output_folder
from retain.report.write import RUN_FILES

TREES = ("adapter", "model", "trained", "merged")
"""Folders of a run that are there whole or not at all."""


def pack(path: Path) -> dict[str, bytes]:
    """The content of a file, or of all files under a folder, by their names from there; logs and locks are left out."""
    if path.is_file():
        return {"": path.read_bytes()}
    files = sorted(inner for inner in path.rglob("*") if inner.is_file() and not is_bookkeeping(inner))
    return {inner.relative_to(path).as_posix(): inner.read_bytes() for inner in files}


def unpack(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a run into its folder: weights as a whole, the record last.

    Raises:
        InputError: another process holds the folder, or something in it is not retain's; or a name leads out of it.
    """
    with output_folder(folder, RUN_FILES):
        whole = {name: part for name in files if (part := name.partition("/")[0]) in TREES and "/" in name}
        for tree in dict.fromkeys(whole.values()):
            with new_folder(folder / tree) as place:
                unpack_plain(place, {name.partition("/")[2]: files[name] for name in whole if whole[name] == tree})
        unpack_plain(folder, {name: files[name] for name in sorted(files, key=_lateness) if name not in whole})


def unpack_plain(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their names; what has no name is the path itself.

    Raises:
        InputError: a name leads out of the folder.
    """
    for name, content in files.items():
        place = path / name if name else path
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise InputError(f"a worker sent a file {name!r}, which does not lie in the folder of its run.")
        write_bytes(place, content)


def _lateness(name: str) -> tuple[bool, bool, str]:
    return name == "result.json", name.endswith(SEAL), name
