"""Members of a zip archive, Zstandard-compressed ones among them, which `zipfile` reads from Python 3.14 on only."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Self

from retain.errors import InputError

ZSTANDARD = 93
"""The number of Zstandard in the zip format."""

LARGEST = 2**30
"""The most bytes of one member, unpacked."""

_LOCAL_HEADER = struct.Struct("<26xHH")


class ZipMembers:
    """The members of an archive by name; a context manager, which opens the archive once for all of them.

    Raises:
        InputError: the file is no zip archive, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: is no zip archive that can be read ({error}).") from error
        self._entries = {entry.filename: entry for entry in self._archive.infolist()}

    def __enter__(self) -> Self:
        """Give the members."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the archive."""
        self._archive.close()

    def names(self) -> list[str]:
        """All names, in the archive's order."""
        return list(self._entries)

    def read(self, name: str) -> bytes:
        """The bytes of one member.

        Raises:
            InputError: there is none of that name, it is too large, or damaged.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise InputError(f"{self.path}: holds no {name}.")
        if entry.file_size > LARGEST:
            raise InputError(f"{self.path}: {name} has {entry.file_size:,} bytes; at most {LARGEST:,} are read.")
        try:
            if entry.compress_type != ZSTANDARD:
                return self._archive.read(name)
            content = _unpacked(self._raw(entry), entry.file_size)
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, struct.error) as error:
            raise InputError(f"{self.path}: {name} cannot be read ({error}).") from error
        if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
            raise InputError(f"{self.path}: {name} is damaged.")
        return content

    def _raw(self, entry: zipfile.ZipInfo) -> bytes:
        """The compressed bytes of a member: they follow its own header, with its name and extra field."""
        with self.path.open("rb") as file:
            file.seek(entry.header_offset)
            name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            file.seek(name + extra, 1)
            return file.read(entry.compress_size)


def _unpacked(content: bytes, size: int) -> bytes:
    """Zstandard frames, one behind the other, unpacked; no more than was declared."""
    import pyarrow as pa  # noqa: PLC0415 -- only archives of this kind need it

    with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
        return bytes(stream.read(size + 1))
