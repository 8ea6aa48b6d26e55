"""The weights in an ONNX file, read without the `onnx` package: names, shapes and float32 numbers.

ONNX is a protocol buffer (https://protobuf.dev/programming-guides/encoding/): a message is a run of fields, each a
key (number and kind as one varint) and a value. The few field numbers used here are those of `onnx.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_NAME, NODE_KIND = 1, 3, 4
TENSOR_DIMENSIONS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
FLOAT32 = 1
VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True)
class Product:
    """A matrix product of the graph: its name, and the names of its two inputs."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Weights:
    """What a graph holds: float32 tensors by name, and its matrix products in the order of the computation."""

    tensors: dict[str, NDArray[np.float32]]
    products: list[Product]


def read_weights(content: bytes) -> Weights:
    """The initialisers (float32, kept as raw bytes) and the MatMul nodes of an ONNX model.

    Raises:
        ValueError: the file is no protocol buffer, or a tensor's bytes do not fill its shape.
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    products: list[Product] = []
    for graph in _messages(memoryview(content), MODEL_GRAPH):
        products.extend(
            Product("".join(_text(node, NODE_NAME)), tuple(_text(node, NODE_INPUT)))
            for node in _messages(graph, GRAPH_NODE)
            if _text(node, NODE_KIND) == ["MatMul"]
        )
        for tensor in _messages(graph, GRAPH_INITIALIZER):
            found = _tensor(tensor)
            if found is not None:
                tensors["".join(_text(tensor, TENSOR_NAME))] = found
    return Weights(tensors, products)


def _tensor(message: memoryview) -> NDArray[np.float32] | None:
    """One tensor, or None where it does not hold float32 numbers."""
    import numpy as np  # noqa: PLC0415 - not needed where the model is already there

    fields = list(_fields(message))
    kind = [value for number, value in fields if number == TENSOR_TYPE]
    raw = [value for number, value in fields if number == TENSOR_RAW]
    if kind != [FLOAT32] or not raw or isinstance(raw[0], int):
        return None
    return np.frombuffer(raw[0], dtype="<f4").reshape(_dimensions(fields))


def _dimensions(fields: list[tuple[int, int | memoryview]]) -> list[int]:
    """A tensor's shape: numbers one by one, or many packed into one field."""
    found: list[int] = []
    for number, value in fields:
        if number != TENSOR_DIMENSIONS:
            continue
        if isinstance(value, int):
            found.append(value)
            continue
        place = 0
        while place < len(value):
            size, place = _varint(value, place)
            found.append(size)
    return found


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The values of the field `wanted` that are messages themselves."""
    return (value for number, value in _fields(message) if number == wanted and not isinstance(value, int))


def _text(message: memoryview, wanted: int) -> list[str]:
    """The values of the field `wanted` as text."""
    return [bytes(value).decode("utf-8") for value in _messages(message, wanted)]


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Every field's number and value: a number for a varint, otherwise its bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == COUNTED:
            size, place = _varint(message, place)
        elif kind in {EIGHT_BYTES, FOUR_BYTES}:
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"asked for an ONNX file; found a field of kind {kind}, which protocol buffers lack")
        if place + size > len(message):
            raise ValueError("asked for an ONNX file; found one that ends too early")
        yield number, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """The number that starts at `place`, seven bits a byte, lowest first; and where it ends."""
    value = shift = 0
    while place < len(message):
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("asked for an ONNX file; found one that ends too early")
