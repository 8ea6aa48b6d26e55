"""Bytes as text, and values without what no text may hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.data import characters
from retain.data.characters import decoded, fit_row, fit_text, has_long_line, needs_care


@given(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\ufeff\0")),
    st.sampled_from(["utf-8", "utf-16", "utf-32"]),
)
def test_what_is_encoded_with_a_mark_is_decoded(text, encoding):
    assert decoded(("\ufeff" + text).encode("utf-8") if encoding == "utf-8" else text.encode(encoding)) == text


def test_bytes_that_are_no_text_are_told_with_their_line():
    with pytest.raises(ValueError, match=r"line 3 holds the byte 0xe9.*'é'; save the file as UTF-8"):
        decoded(b"a\nb\ncaf\xe9")
    with pytest.raises(ValueError, match="without a byte order mark"):
        decoded("prompt,label\n".encode("utf-16-le"))
    with pytest.raises(ValueError, match="UTF-16"):
        decoded(b"\xff\xfea")


@pytest.mark.parametrize("text", [r"\ud83d", r"\uDE00", r"\ufeff", r"\u0000", "\0", "\ufeff"])
def test_texts_with_such_characters_are_looked_at(text):
    assert needs_care(f'{{"a": "{text}"}}')
    assert not needs_care(r'{"a": "ü \u00fc \n"}')


def test_values_are_mended_or_refused_with_their_field():
    assert fit_row({"\ufeffa": ["\ufeffb", 3, None, ("c",)]}) == {"a": ["b", 3, None, ("c",)]}
    for row in ({"a": {"b": ["", "\ud83d"]}}, {"a": {"b": ["", "x\0"]}}):
        with pytest.raises(ValueError, match=r'"a.b\[1\]"'):
            fit_row(row)
    with pytest.raises(ValueError, match="a key holds"):
        fit_row({"\ud83d": 1})


def test_lines_and_texts_that_are_too_long_are_seen(monkeypatch):
    monkeypatch.setattr(characters, "MOST_CHARACTERS", 10)
    assert [has_long_line(text) for text in ("a" * 10, "a" * 11, "a\n" * 40, "b" * 9 + "\n" + "a" * 11)] == [
        False,
        True,
        False,
        True,
    ]
    with pytest.raises(ValueError, match="split it"):
        fit_text("a" * 11)
