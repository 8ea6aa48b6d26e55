from __future__ import annotations

import math

import numpy as np
import pytest

from retain.errors import is_number, is_whole, sentence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("there is no folder runs", "there is no folder runs."),
        ("there is no field stps; did you mean steps?", "there is no field stps; did you mean steps?"),
        ("log: it cannot be read.", "log: it cannot be read."),
        ("no such file (did you mean a.jsonl?)", "no such file (did you mean a.jsonl?)."),
    ],
)
def test_a_sentence_ends_once(text, told):
    assert sentence(text) == told


def test_numbers_are_told_from_what_only_looks_like_them():
    assert all(map(is_number, (0, -1.5, np.float32(2), np.int64(3))))
    assert not any(map(is_number, ("1", None, True, math.nan, math.inf, [1])))
    assert all(map(is_whole, (0, -3, np.int64(3), np.uint8(1))))
    assert not any(map(is_whole, (1.0, "1", True, np.True_, None)))
