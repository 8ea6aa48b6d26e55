"""Files as they lie on a disk: their bytes, unpacked, and what they are by these bytes and not by their names."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import Literal

Kind = Literal["parquet", "arrow", "json", "table", "text"]
"""What the content of a file is: columns of Parquet or Arrow, JSON, lines with separators, or text."""

MOST_UNPACKED = 2 * 2**30
"""Bytes that a packed file may unpack to; 1 MB of gzip can hold 1 GB."""

_PARQUET = b"PAR1"
_ARROW = (b"ARROW1", b"\xff\xff\xff\xff")
_GZIP = b"\x1f\x8b"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Office document; save it as CSV (UTF-8) or JSONL"),
    (b"BZh", "packed by bzip2; unpack it (bunzip2)"),
    (b"\xfd7zXZ", "packed by xz; unpack it (unxz)"),
    (b"\x28\xb5\x2f\xfd", "packed by Zstandard; unpack it (unzstd)"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"%PDF", "a PDF; save its text as UTF-8"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV or JSONL"),
    (b"\x89HDF", "an HDF5 file; save its rows as JSONL or Parquet"),
    (b"\x93NUMPY", "a NumPy array; save its rows as JSONL or Parquet"),
    (b"\x80\x03", "a pickle, which can run code; save its rows as JSONL or Parquet"),
    (b"\x80\x04", "a pickle, which can run code; save its rows as JSONL or Parquet"),
    (b"\x80\x05", "a pickle, which can run code; save its rows as JSONL or Parquet"),
    (b"\x89PNG", "an image; give a folder of folders, one a class, or a table of image, label"),
    (b"\xff\xd8\xff", "an image; give a folder of folders, one a class, or a table of image, label"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it (git lfs pull)"),
)
_TABLES = (".csv", ".tsv", ".tab")
_JSON = (".jsonl", ".json", ".ndjson")
_TEXTS = (".txt", ".md")
_ROWS_OF_JSON = re.compile(rb'(?:\[\s*)?\{\s*"')
_JSON_OF_ANY_KIND = re.compile(rb"[\[{]")
_PACKED = (".gz", ".gzip")


def bare_suffix(name: str) -> str:
    """The suffix of a file's name in lower case, that of the packed file where it is packed.

    Examples:
        >>> bare_suffix("Train.JSONL.gz")
        '.jsonl'
    """
    path = Path(name)
    if path.suffix.lower() in _PACKED:
        path = Path(path.stem)
    return path.suffix.lower()


def bare_stem(name: str) -> str:
    """The name of a file without its suffixes: `train` of `data/train.jsonl.gz`."""
    path = Path(name)
    return Path(path.stem).stem if path.suffix.lower() in _PACKED else path.stem


def read_content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is packed by gzip.

    Raises:
        OSError: it cannot be read.
        ValueError: as a clause, it is damaged, too large unpacked, or of a format that is not read, and what to do.
    """
    if not path.is_file():
        raise ValueError("it is no file but a device, a pipe or a socket; write the data to a file")
    content = path.read_bytes()
    if content.startswith(_GZIP):
        content = _unpacked(path)
    for magic, what in _FOREIGN:
        if content.startswith(magic):
            raise ValueError(f"it is {what}")
    return content


def kind_of(content: bytes, name: str) -> Kind:
    """What a file's content is. Its name decides only where the content leaves it open: between a table and text.

    Args:
        content: its bytes, unpacked.
        name: its name.
    """
    if content.startswith(_PARQUET):
        return "parquet"
    if content.startswith(_ARROW):
        return "arrow"
    suffix = bare_suffix(name)
    start = content[:4096].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if suffix in _JSON or (_ROWS_OF_JSON if suffix in (*_TABLES, *_TEXTS) else _JSON_OF_ANY_KIND).match(start):
        return "json"
    return "table" if suffix in _TABLES else "text"


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            content = file.read(MOST_UNPACKED + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"it is packed by gzip and damaged ({error}); pack it again") from error
    if len(content) > MOST_UNPACKED:
        raise ValueError(f"it unpacks to more than {MOST_UNPACKED:,} bytes; unpack it and give the file itself")
    return content
