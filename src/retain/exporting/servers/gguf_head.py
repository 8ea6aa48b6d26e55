"""Read the head of a GGUF file: its metadata and the names and shapes of its tensors, never the tensors themselves.

The format: the letters GGUF, a version, the numbers of tensors and of entries, the entries (a text, a type, a value),
then for each tensor its name, its dimensions (the fastest first), its type and its place.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from retain.errors import InputError
from retain.exporting.servers.served import Header

MAGIC = b"GGUF"
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _ARRAY = 8, 9
_MOST = 10_000_000
"""More entries, tensors or letters than that are in no file that is whole."""

_TYPES = {0: "F32", 1: "F16", 30: "BF16"}


class GGUF(NamedTuple):
    """The head of a GGUF file.

    Attributes:
        metadata: values by name; of a list only how many it has.
        tensors: headers by name, with dimensions as torch has them.
    """

    metadata: Mapping[str, Any]
    tensors: Mapping[str, Header]


def read_head(path: Path) -> GGUF | None:
    """The head of a GGUF file; None where it is another kind of file.

    Raises:
        InputError: it is cut off or damaged.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                return None
            version, tensors, entries = _number(file, "<I"), _number(file, "<Q"), _number(file, "<Q")
            if version not in {2, 3} or max(tensors, entries) > _MOST:
                raise ValueError(f"version {version}, {tensors} tensors")
            metadata = {_text(file): _value(file, _number(file, "<I")) for _ in range(entries)}
            return GGUF(metadata, dict(_tensor(file) for _ in range(tensors)))
    except (ValueError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise InputError(f"{path}: this GGUF file is damaged or cut off ({error}); make it again.") from error


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _text(file: BinaryIO) -> str:
    length = _number(file, "<Q")
    if length > _MOST:
        raise ValueError(f"a text of {length} letters")
    content = file.read(length)
    if len(content) < length:
        raise ValueError("it ends within a text")
    return content.decode("utf-8")


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _text(file)
    if kind == _ARRAY:
        inner, length = _number(file, "<I"), _number(file, "<Q")
        if length > _MOST or inner == _ARRAY:
            raise ValueError(f"a list of {length} entries of type {inner}")
        if inner == _TEXT:
            for _ in range(length):
                file.seek(_number(file, "<Q"), 1)
        else:
            file.seek(length * struct.calcsize(_NUMBERS.get(inner, "")), 1)
        return length
    if kind not in _NUMBERS:
        raise ValueError(f"a value of type {kind}")
    return _number(file, _NUMBERS[kind])


def _tensor(file: BinaryIO) -> tuple[str, Header]:
    name = _text(file)
    dimensions = _number(file, "<I")
    if dimensions > 8:
        raise ValueError(f"a tensor of {dimensions} dimensions")
    shape = tuple(_number(file, "<Q") for _ in range(dimensions))
    kind = _number(file, "<I")
    _number(file, "<Q")
    return name, Header(tuple(reversed(shape)), _TYPES.get(kind, f"type {kind}"))
