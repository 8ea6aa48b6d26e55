"""The characters of the texts in each row of columns, counted without making values of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

BATCH = 10_000
"""Rows that are counted at once."""


def sizes_of(data: Any) -> Sequence[int]:
    """The characters of the texts in each row of a `datasets.Dataset`, however deep they are nested."""
    sizes: list[int] = []
    for table in data.with_format("arrow").iter(BATCH):
        columns = [_characters(column.combine_chunks()) for column in table.columns]
        sizes += sum(columns, np.zeros(len(table), dtype=np.int64)).tolist()
    return sizes


def _characters(array: Any) -> NDArray[np.int64]:
    """The characters of the texts in each value of an array of Arrow."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _characters(array.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _numbers(compute.utf8_length(array))
    if pa.types.is_struct(kind):
        return sum(map(_characters, array.flatten()), np.zeros(len(array), dtype=np.int64))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        before: NDArray[np.int64] = np.concatenate([[0], np.cumsum(_characters(array.flatten()))])
        lengths = _numbers(compute.list_value_length(array))
        ends = np.cumsum(lengths)
        within: NDArray[np.int64] = before[ends] - before[ends - lengths]
        return within
    return np.zeros(len(array), dtype=np.int64)


def _numbers(array: Any) -> NDArray[np.int64]:
    """Counts, 0 where there is no value."""
    return np.asarray(compute.fill_null(array, 0), dtype=np.int64)
