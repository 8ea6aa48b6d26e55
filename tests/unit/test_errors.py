from __future__ import annotations

import pytest

from retain.errors import sentence


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
